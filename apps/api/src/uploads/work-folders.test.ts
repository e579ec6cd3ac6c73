import { existsSync, mkdirSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeLeftWorkFolders, withWorkFolder } from './work-folders.js'

const mine = { installationId: `test-${process.pid}` }

describe('work folders', () => {
  it('last as long as the work, however it ends', async () => {
    let seen = ''
    await withWorkFolder(mine, async (folder) => {
      seen = folder
      await writeFile(join(folder, 'x'), 'x')
    })
    expect(existsSync(seen)).toBe(false)
    await expect(withWorkFolder(mine, (folder) => Promise.reject(new Error((seen = folder))))).rejects.toThrow()
    expect(existsSync(seen)).toBe(false)
  })

  it('of processes that are no more are removed, and only of this installation', async () => {
    const folders = [
      `bloomery-api-test-${process.pid}-999999999-abc`,
      `bloomery-api-test-${process.pid}-1-abc`,
      `bloomery-api-other-999999999-abc`,
    ].map((name) => join(tmpdir(), name))
    for (const folder of folders) mkdirSync(folder, { recursive: true })
    await removeLeftWorkFolders(mine)
    expect(folders.map((folder) => existsSync(folder))).toEqual([false, true, true])
    for (const folder of folders) await rm(folder, { recursive: true, force: true })
  })
})
