import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@bloomery/telemetry'
import { DropletCache } from './droplet-cache.js'

const OLD = new Date(Date.now() - 3_600_000)
const [A, B] = ['a'.repeat(64), 'b'.repeat(64)]
const { signal } = new AbortController()

describe('droplets made of layers', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bloomery-droplets-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const cache = (maxBytes = 1) =>
    new DropletCache({
      folder,
      maxBytes,
      download: () => Promise.reject(new Error('the archive was asked for')),
      logger: silentLogger,
    })
  const place = async (name: string, content = 'x') => {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'file'), content)
    await utimes(join(folder, name), OLD, OLD)
  }
  const list = async (sha256: string, layers: readonly string[]) => {
    await writeFile(join(folder, `${sha256}.layers`), JSON.stringify(layers))
    await utimes(join(folder, `${sha256}.layers`), OLD, OLD)
  }

  it('answers the folders, the topmost first', async () => {
    for (const name of [A, 'layer-one', 'layer-two']) await place(name)
    await list(A, ['layer-one', 'layer-two'])
    const found = await cache().acquire({ sha256: A, sizeBytes: 1 }, 'someone', signal)
    expect(found).toEqual([A, 'layer-one', 'layer-two'].map((name) => join(folder, name)))
  })

  it('a droplet without a list is one folder; names that lead elsewhere are no layers', async () => {
    await place(A)
    await place(B)
    await list(B, ['../secrets', 'layer-/../x', B])
    expect(await cache().acquire({ sha256: A, sizeBytes: 1 }, 'someone', signal)).toEqual([join(folder, A)])
    expect(await cache().acquire({ sha256: B, sizeBytes: 1 }, 'someone', signal)).toEqual([join(folder, B)])
  })

  it('a droplet that has lost a layer is fetched anew', async () => {
    await place(A)
    await list(A, ['layer-gone'])
    await expect(
      cache().acquire({ sha256: A, sizeBytes: 1, url: 'https://blobs' }, 'someone', AbortSignal.timeout(10_000)),
    ).rejects.toThrow('the archive was asked for')
    expect((await readdir(folder)).filter((name) => name.startsWith(A))).toEqual([])
  })

  it('a layer stays for as long as a droplet is made of it', async () => {
    for (const name of [A, B, 'layer-shared', 'layer-of-a', 'layer-of-nobody']) await place(name)
    await list(A, ['layer-of-a', 'layer-shared'])
    await list(B, ['layer-shared'])
    const droplets = cache()
    droplets.hold(B, 'running')
    await droplets.evict()
    // What was beneath the droplet that has just gone goes with the next look.
    await droplets.evict()
    const left = (await readdir(folder)).filter((name) => !name.endsWith('.size'))
    expect(left.sort()).toEqual([B, `${B}.layers`, 'layer-shared'])
  })
})
