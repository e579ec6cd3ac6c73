import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@bloomery/telemetry'
import { describeWithDocker } from '@bloomery/testing'
import { DockerEngine } from './docker-engine.js'

const docker = (...args: readonly string[]): string => execFileSync('docker', args, { encoding: 'utf8' }).trim()
const LONG_AGO = '2020-01-01T00:00:00Z'

;(await describeWithDocker())('images of a stack that a newer one has replaced', () => {
  const made: string[] = []
  // Of this test alone: whoever else clears up on this engine leaves them alone.
  const imageLabel = `bloomery.test.${randomUUID()}`
  const tagged = `bloomery-test/${randomUUID()}:x`
  let folder: string
  let engine: DockerEngine
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'unused-images-'))
    engine = new DockerEngine({ installationId: randomUUID(), folder, image: tagged, imageLabel, logger: silentLogger })
  })
  afterAll(async () => {
    await engine.close()
    for (const id of made.filter(isThere)) docker('rmi', '-f', id)
    rmSync(folder, { recursive: true, force: true })
  })

  /** An image of one empty layer, without a name, as a build leaves the one whose name it takes. */
  const make = (labels: Readonly<Record<string, string>>, created = LONG_AGO): string => {
    const work = mkdtempSync(join(folder, 'image-'))
    mkdirSync(join(work, 'root'))
    writeFileSync(join(work, 'root/unique'), randomUUID())
    const layer = join(work, 'layer.tar')
    execFileSync('tar', ['-C', join(work, 'root'), '-cf', layer, '.'])
    const diffId = createHash('sha256')
      .update(execFileSync('cat', [layer]))
      .digest('hex')
    const config = JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created,
      config: { Labels: labels, Cmd: ['/unique'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
    })
    const id = createHash('sha256').update(config).digest('hex')
    writeFileSync(join(work, `${id}.json`), config)
    writeFileSync(join(work, 'manifest.json'), JSON.stringify([{ Config: `${id}.json`, RepoTags: null, Layers: ['layer.tar'] }]))
    execFileSync('tar', ['-C', work, '-cf', `${work}.tar`, 'manifest.json', 'layer.tar', `${id}.json`])
    docker('load', '-q', '-i', `${work}.tar`)
    made.push(`sha256:${id}`)
    return `sha256:${id}`
  }
  const isThere = (id: string): boolean => docker('images', '-aq', '--no-trunc').split('\n').includes(id)

  it('are found and removed, but none without the label, with a name, young, or with a container', async () => {
    const label = { [imageLabel]: 'x' }
    const unused = make(label)
    const foreign = make({ 'somebody.else': 'x' })
    const young = make(label, new Date().toISOString())
    const named = make(label)
    docker('tag', named, tagged)
    const used = make(label)
    const container = docker('create', used)
    try {
      expect(await engine.unusedImages()).toEqual([{ id: unused, bytes: expect.any(Number) }])
      for (const id of [unused, foreign, young, named, used]) await engine.removeUnusedImage(id)
      expect([unused, foreign, young, named, used].map(isThere)).toEqual([false, true, true, true, true])
      await engine.removeUnusedImage(unused)
    } finally {
      docker('rm', container)
    }
    expect((await engine.unusedImages()).map(({ id }) => id)).toEqual([used])
  }, 60_000)
})
