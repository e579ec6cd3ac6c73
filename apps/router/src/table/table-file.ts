import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { once } from 'node:events'
import { finished } from 'node:stream/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { RouteEntry } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { RouteTable, TableContents } from './route-table.js'

/** The first line; the routes follow, one a line. */
const Head = z.object({ epoch: z.string(), revision: z.number(), count: z.number().int() })
/** As it was written before: all in one line. */
const WholeTable = z.object({ epoch: z.string(), revision: z.number(), routes: z.array(RouteEntry) })
const DEBOUNCE_MS = 500
/** So many routes are written or read at once; requests are served in between. */
const AT_ONCE = 500

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
    const lines = text.split('\n').filter(Boolean)
    const first: unknown = JSON.parse(lines[0] ?? '')
    const whole = WholeTable.safeParse(first)
    if (whole.success) return whole.data
    const { count, ...at } = Head.parse(first)
    const routes = lines.slice(1).map((line) => RouteEntry.parse(JSON.parse(line)))
    if (routes.length !== count) throw new Error(`${routes.length} routes instead of ${count}`)
    return { ...at, routes }
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
      await writeLines(createWriteStream(part, { mode: 0o600 }), contents)
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

async function writeLines(file: WriteStream, { epoch, revision, routes }: TableContents): Promise<void> {
  const closed = finished(file)
  // Whoever waits below is told of the failure; it is none of the process's.
  closed.catch(() => undefined)
  file.write(`${JSON.stringify({ epoch, revision, count: routes.length })}\n`)
  for (let from = 0; from < routes.length; from += AT_ONCE) {
    const lines = routes.slice(from, from + AT_ONCE).map((route) => `${JSON.stringify(route)}\n`)
    if (!file.write(lines.join(''))) await Promise.race([once(file, 'drain'), closed])
    await nextTurn()
  }
  file.end()
  await closed
}
