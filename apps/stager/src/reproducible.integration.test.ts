import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rows, sql } from '@bloomery/database/sql'
import { cycloneDxFaults, describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { examplePath, type Files } from './testing.fixture.js'

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
  const staging = withStaging()

  /** What the buildpacks have left in the droplet, of which each of ours leaves one. */
  const billsIn = async (sha256: string): Promise<readonly string[]> => {
    const [folder = ''] = await staging.bench.foldersOf(sha256)
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
      const first = await staging.staged({ files, buildpacks })
      // Nor shall the space's other apps lend what they have installed.
      await rm(join(staging.bench.home, 'space-layers'), { recursive: true, force: true })
      const second = await staging.staged({ files, buildpacks })
      expect(second.row.droplet_guid).not.toBe(first.row.droplet_guid)
      expect(second.droplet.sha256).toBe(first.droplet.sha256)
      const found = await rows<{ purl: string; version: string; checksum: string | null }>(
        staging.bench.pool,
        sql`SELECT purl, version, checksum FROM droplet_components WHERE droplet_guid = ${first.row.droplet_guid} ORDER BY purl`,
      )
      for (const purl of [...purls, 'pkg:generic/debian@'])
        expect(found.map((each) => each.purl)).toContainEqual(expect.stringContaining(purl))
      for (const document of await billsIn(first.droplet.sha256)) expect(await cycloneDxFaults(document)).toEqual([])
    },
    900_000,
  )
})
