import http from 'node:http'

export interface LoadResult {
  readonly requests: number
  readonly failures: readonly { readonly at: number; readonly what: string }[]
  /** Milliseconds. */
  readonly latencies: readonly number[]
}

/**
 * Constant, bounded load on one host through the router, on loopback only: `connections` callers, each with one request under way,
 * at most `maxSeconds`. A failure is anything but a complete answer with status 200.
 */
export function startLoad(
  port: number,
  host: string,
  options: { connections?: number; pauseMs?: number; maxSeconds?: number; path?: string; keepAlive?: boolean } = {},
): { stop(): Promise<LoadResult> } {
  const agent = new http.Agent({ keepAlive: options.keepAlive ?? false, maxSockets: options.connections ?? 4 })
  const failures: { at: number; what: string }[] = []
  const latencies: number[] = []
  let requests = 0
  const began = Date.now()
  const end = began + (options.maxSeconds ?? 120) * 1000
  let stopped = false
  const once = () =>
    new Promise<void>((done) => {
      requests++
      const started = performance.now()
      const fail = (what: string) => {
        failures.push({ at: Date.now() - began, what })
        done()
      }
      const call = http.get(
        { host: '127.0.0.1', port, path: options.path ?? '/', headers: { host: `${host}:${port}` }, agent, timeout: 20_000 },
        (response) => {
          response.resume()
          response.on('end', () => {
            latencies.push(performance.now() - started)
            if (response.statusCode === 200) done()
            else fail(`status ${response.statusCode ?? 0} ${String(response.headers['x-cf-routererror'] ?? '')}`)
          })
          response.on('error', (error) => fail(`answer cut: ${error.message}`))
        },
      )
      call.on('timeout', () => call.destroy(new Error('no answer in 20 s')))
      call.on('error', (error) => fail(error.message))
    })
  const caller = async () => {
    while (!stopped && Date.now() < end) {
      await once()
      await new Promise((wait) => setTimeout(wait, options.pauseMs ?? 10))
    }
  }
  const callers = Array.from({ length: options.connections ?? 4 }, caller)
  return {
    stop: async () => {
      stopped = true
      await Promise.all(callers)
      agent.destroy()
      return { requests, failures, latencies }
    },
  }
}
