import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Blobstore } from '@bloomery/blobstore'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { BuildpackStore } from './buildpack-store.js'

describe("copies of the product's own buildpacks", () => {
  let home: string
  let store: BuildpackStore
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'buildpack-store-'))
    for (const folder of ['system/nodejs/bin', 'system/shared/lib']) await mkdir(join(home, folder), { recursive: true })
    await writeFile(join(home, 'system/nodejs/bin/detect'), 'one')
    await writeFile(join(home, 'system/shared/lib/common.py'), 'common')
    store = new BuildpackStore(join(home, 'copies'), join(home, 'system'), {} as Blobstore)
  })
  afterEach(() => rm(home, { recursive: true, force: true }))

  it('are made once for each content, whoever asks and how often', async () => {
    const [first, again] = await Promise.all([store.prepareSystem('nodejs'), store.prepareSystem('nodejs')])
    expect(again).toBe(first)
    expect(await store.prepareSystem('nodejs')).toBe(first)
    const other = new BuildpackStore(join(home, 'copies'), join(home, 'system'), {} as Blobstore)
    expect(await other.prepareSystem('nodejs')).toBe(first)
    expect(await readdir(join(home, 'copies'))).toHaveLength(1)
    expect(await readFile(join(first, 'lib/common.py'), 'utf8')).toBe('common')
  })

  it('follow a change of any file, of the same length too', async () => {
    const before = await store.prepareSystem('nodejs')
    await writeFile(join(home, 'system/nodejs/bin/detect'), 'two')
    const after = await store.prepareSystem('nodejs')
    expect(await readFile(join(after, 'bin/detect'), 'utf8')).toBe('two')
    await writeFile(join(home, 'system/shared/lib/common.py'), 'COMMON')
    expect(new Set([before, after, await store.prepareSystem('nodejs')]).size).toBe(3)
    await writeFile(join(home, 'system/shared/lib/common.py'), 'common')
    expect(await store.prepareSystem('nodejs')).toBe(after)
  })

  it('are left over a week after their last use, and not if they are used meanwhile', async () => {
    const path = await store.prepareSystem('nodejs')
    await utimes(path, 1, 1)
    const left = await store.leftovers()
    expect(left.map(({ kind, folder }) => [kind, folder])).toEqual([['buildpack', path]])
    await store.prepareSystem('nodejs')
    await left[0]?.remove()
    expect(await readdir(join(home, 'copies'))).toHaveLength(1)
    await utimes(path, 1, 1)
    await left[0]?.remove()
    expect(await readdir(join(home, 'copies'))).toEqual([])
  })
})
