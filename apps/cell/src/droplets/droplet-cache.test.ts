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

  describe('what is kept without need', () => {
    const C = 'c'.repeat(64)
    const left = async () => (await readdir(folder)).filter((name) => !name.endsWith('.size')).sort()
    /** A and B were deleted, B runs still, C may be started again. */
    const scene = async () => {
      for (const name of [A, B, C, 'layer-of-a', 'layer-shared', 'layer-of-nobody']) await place(name)
      await list(A, ['layer-of-a', 'layer-shared'])
      await list(B, ['layer-shared'])
      await place(`.new-${C}-1-1`)
      await mkdir(join(folder, `layer-young`))
      await writeFile(join(folder, 'foreign'), 'x')
      await utimes(join(folder, 'foreign'), OLD, OLD)
      const droplets = cache()
      droplets.hold(B, 'running')
      const asked: string[][] = []
      const find = () =>
        droplets.leftovers(async (sha256s) => {
          asked.push([...sha256s].sort())
          return new Set([A, B])
        })
      return { droplets, find, asked }
    }

    it('is listed with bytes and reason: deleted droplets that nobody runs, and layers of no other droplet', async () => {
      const { find, asked } = await scene()
      const found = await find()
      expect(found.map(({ path, kind, bytes }) => [path, kind, bytes]).sort()).toEqual(
        [
          [`droplets/${A}`, 'droplet', 1],
          ['droplets/layer-of-a', 'layer', 1],
          ['droplets/layer-of-nobody', 'layer', 1],
          [`droplets/.new-${C}-1-1`, 'droplet', 1],
        ].sort(),
      )
      for (const { reason } of found) expect(reason).not.toBe('')
      expect(asked).toEqual([[A, C]])
      expect(await left()).toHaveLength(11)
    })

    it('goes, and nothing else; what is used again by then stays', async () => {
      const { droplets, find } = await scene()
      const found = await find()
      for (const { remove } of found) await remove()
      expect(await left()).toEqual([B, `${B}.layers`, C, 'foreign', 'layer-shared', 'layer-young'].sort())
      for (const { remove } of found) await remove()
      expect(await find()).toEqual([])
      droplets.release(B, 'running')
      const again = await find()
      expect(again.map(({ path }) => path).sort()).toEqual([`droplets/${B}`, 'droplets/layer-shared'])
      // A start comes between the look and the removal.
      await droplets.acquire({ sha256: B, sizeBytes: 1 }, 'someone', signal)
      for (const { remove } of again) await remove()
      expect(await left()).toEqual([B, `${B}.layers`, C, 'foreign', 'layer-shared', 'layer-young'].sort())
    })

    it('a droplet that is started while it is taken away is fetched anew', async () => {
      const { droplets, find } = await scene()
      const [found] = (await find()).filter(({ path }) => path === `droplets/${A}`)
      const removing = found?.remove()
      const starting = droplets.acquire({ sha256: A, sizeBytes: 1, url: 'https://blobs' }, 'someone', AbortSignal.timeout(10_000))
      await removing
      // Either the start came first, and has all its folders, or the droplet had to be asked for.
      const folders = await starting.catch((error: unknown) => String(error))
      if (typeof folders === 'string') expect(folders).toContain('the archive was asked for')
      else for (const path of folders) expect(await readdir(path)).toEqual(['file'])
    })
  })
})
