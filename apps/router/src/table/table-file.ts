import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { RouteEntry } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { RouteTable, TableContents } from './route-table.js'

const StoredTable = z.object({ epoch: z.string(), revision: z.number(), routes: z.array(RouteEntry) })
const DEBOUNCE_MS = 500

/** The table on disk; undefined where there is none or it cannot be read, which is logged. */
export async function readTableFile(path: string, log: Logger): Promise<TableContents | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.error({ err: error, path }, 'the kept routes cannot be read')
    return undefined
  }
  try {
    return StoredTable.parse(JSON.parse(text))
  } catch (error) {
    log.error({ err: error, path }, 'the kept routes are damaged; waiting for the feed')
    return undefined
  }
}

/** Keeps the table on disk: each write is atomic, and many changes in a row are one write. */
export function keepTableFile(table: RouteTable, path: string, log: Logger): { flush(): Promise<void>; close(): Promise<void> } {
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let lastWriteMs = 0
  const write = async (): Promise<void> => {
    const contents = table.contents()
    if (!contents) return
    const startedAt = Date.now()
    const part = `${path}.${process.pid}.part`
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await writeFile(part, JSON.stringify(contents), { mode: 0o600 })
      await rename(part, path)
    } catch (error) {
      log.error({ err: error, path }, 'the routes could not be kept on disk')
      await rm(part, { force: true }).catch(() => undefined)
    }
    lastWriteMs = Date.now() - startedAt
  }
  const flush = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(write)
    return writing
  }
  table.onChanged(() => {
    // A big table is written less often, so that writing never takes more than a small part of the time.
    timer ??= setTimeout(() => void flush(), Math.max(DEBOUNCE_MS, lastWriteMs * 20))
  })
  return { flush, close: () => (timer === undefined ? writing : flush()) }
}
