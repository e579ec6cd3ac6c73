import { createLogReader, type IdentitySource } from '@bloomery/feeds'
import type { LogReader } from './log-reader.js'

/** The log store's client as the API's routes see it. */
export function createStoreLogReader(options: { readonly logsUrl: string; readonly identity: IdentitySource }): LogReader & {
  close(): Promise<void>
} {
  const store = createLogReader(options)
  return {
    read: (sourceId, query, waiting) => {
      const asked: Record<string, string> = Object.fromEntries(
        ['start_time', 'end_time', 'limit', 'descending'].flatMap((name) => {
          const value = query.get(name)
          return value === null ? [] : [[name, value]]
        }),
      )
      const types = query.getAll('envelope_types')
      const wait = waiting ? { wait_ms: String(waiting.waitMs) } : {}
      return store.read(sourceId, { ...asked, ...wait, ...(types.length > 0 ? { envelope_types: types } : {}) }, waiting?.signal)
    },
    meta: async (sourceIds) => ({ meta: await store.meta(sourceIds) }),
    // Usage is a nicety: an app is shown without it while the store is away.
    metrics: (sourceId) => store.metrics(sourceId).catch(() => []),
    forget: (sourceId) => store.forget(sourceId),
    close: () => store.close(),
  }
}
