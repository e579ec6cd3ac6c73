import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rows, sql } from '@bloomery/database/sql'
import { cycloneDxFaults, describeWithDocker, eventually, withPostgres } from '@bloomery/testing'
import { type Bench, examplePath, type Files, makeBench } from './testing.fixture.js'

const SYSTEM = ['staticfile', 'java', 'ruby', 'nodejs', 'go', 'python', 'php', 'nginx', 'binary'].map(
  (name) => `${name}_buildpack`,
)
type Case = [string, string | Files, string[], readonly string[]]
/** Compiled twice from nothing: with the longer suites only. */
const COMPILED: Case[] =
  process.env['BLOOMERY_TEST_FULL'] === '1'
    ? [
        ['Go', examplePath('go-app'), [], ['pkg:golang/github.com/go-chi/chi/v5@v5.2.3']],
        ['Java', examplePath('java-app'), [], ['pkg:maven/org.springframework/spring-web@']],
      ]
    : []

;(await describeWithDocker())('two stagings of the same input', () => {
  const database = withPostgres()
  let bench: Bench
  let stager: ReturnType<Bench['makeStager']>
  beforeAll(async () => {
    bench = await makeBench(database.pool, { systemBuildpacks: SYSTEM })
    stager = bench.makeStager()
    await eventually(() => stager.isReady)
  }, 60_000)
  afterAll(() => bench.close(), 60_000)

  const staged = async (options: Parameters<Bench['addBuild']>[0]) => {
    bench.logs.lines.length = 0
    const { build, app } = await bench.addBuild(options)
    await stager.offer(build)
    const row = await bench.build(build)
    if (row?.state !== 'STAGED') throw new Error(`${row?.error}\n${bench.logs.text}`)
    return { app, guid: row.droplet_guid ?? '', ...(await bench.droplet(row.droplet_guid)) }
  }

  /** What the buildpacks have left in the droplet, of which each of ours leaves one. */
  const billsIn = async (sha256: string): Promise<readonly string[]> => {
    const [folder = ''] = await bench.foldersOf(sha256)
    const deps = join(folder, 'deps')
    return Promise.all((await readdir(deps)).map((index) => readFile(join(deps, index, 'bom.json'), 'utf8')))
  }

  it.each<Case>([
    ['Node', examplePath('express-app'), [], ['pkg:npm/express@', 'pkg:npm/ejs@']],
    ['Python', examplePath('flask-app'), [], ['pkg:pypi/flask@', 'pkg:pypi/gunicorn@']],
    ...COMPILED,
    ['Ruby', examplePath('ruby-app'), [], ['pkg:gem/sinatra@3.0.5']],
    ['PHP', examplePath('php-app'), [], ['pkg:composer/nikic/fast-route@1.3.0']],
    ['nginx', examplePath('nginx-app'), [], ['pkg:generic/nginx@1.']],
    ['a static site', examplePath('static-site'), [], ['pkg:generic/nginx@1.']],
    [
      'a binary',
      { run: { body: '#!/bin/sh\n', mode: 0o755 }, Procfile: 'web: ./run\n' },
      ['binary_buildpack'],
      ['pkg:generic/debian@12'],
    ],
  ])(
    'give the same droplet, by apps that share nothing: %s; and its bill of materials',
    async (_name, files, buildpacks, purls) => {
      const first = await staged({ files, buildpacks })
      // Nor shall the space's other apps lend what they have installed.
      await rm(join(bench.home, 'space-layers'), { recursive: true, force: true })
      const second = await staged({ files, buildpacks })
      expect(second.guid).not.toBe(first.guid)
      expect(second.sha256).toBe(first.sha256)
      const found = await rows<{ purl: string; version: string; checksum: string | null }>(
        bench.pool,
        sql`SELECT purl, version, checksum FROM droplet_components WHERE droplet_guid = ${first.guid} ORDER BY purl`,
      )
      for (const purl of [...purls, 'pkg:generic/debian@'])
        expect(found.map((each) => each.purl)).toContainEqual(expect.stringContaining(purl))
      for (const document of await billsIn(first.sha256)) expect(await cycloneDxFaults(document)).toEqual([])
    },
    900_000,
  )
})
