import { request } from 'node:http'
import { connect } from 'node:net'
import type { HealthCheck } from '@bloomery/contracts'

const DEFAULT_TIMEOUT_SECONDS = 1
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const MOST_REDIRECTS = 10
const MOST_READ_BYTES = 256 * 1024

interface Target {
  readonly host: string
  readonly port: number
}

/** Why a check failed, in Cloud Foundry's words; undefined when it passed. */
export type ProbeResult = string | undefined

/** Dials an instance as its check says. A `process` check always passes: the process's end is noticed otherwise. */
export function probe(check: HealthCheck, target: Target): Promise<ProbeResult> {
  const timeoutMs = (check.invocationTimeout ?? DEFAULT_TIMEOUT_SECONDS) * 1000
  switch (check.type) {
    case 'process':
      return Promise.resolve(undefined)
    case 'port':
      return probePort(target, timeoutMs)
    case 'http':
      return probeHttp(target, check.endpoint ?? '/', timeoutMs)
  }
}

function probePort({ host, port }: Target, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs })
    const end = (result: ProbeResult) => {
      socket.destroy()
      resolve(result)
    }
    const failed = (why: string) => end(`failed to make TCP connection to ${host}:${port}: ${why}`)
    socket.once('connect', () => end(undefined))
    socket.once('timeout', () => failed(`timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`))
    socket.once('error', (error) => failed(reasonOf(error)))
  })
}

async function probeHttp(target: Target, path: string, timeoutMs: number): Promise<ProbeResult> {
  const began = performance.now()
  const failed = (why: string) => `failed to make HTTP request to '${path}' on port ${target.port}: ${why}`
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    let url = new URL(path.startsWith('/') ? path : `/${path}`, `http://${target.host}:${target.port}`)
    for (let hops = 0; ; hops++) {
      const { status, location } = await get(target, url, signal)
      if (status === 200) return undefined
      const redirected = REDIRECTS.has(status) && location !== undefined && URL.canParse(location, url)
      if (!redirected) return failed(`received status code ${status} in ${Math.round(performance.now() - began)}ms`)
      if (hops === MOST_REDIRECTS) return failed(`stopped after ${MOST_REDIRECTS} redirects`)
      url = new URL(location, url)
    }
  } catch (error) {
    if (signal.aborted) return failed(`timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`)
    return failed(reasonOf(error as NodeJS.ErrnoException))
  }
}

/**
 * One request to the instance itself, wherever `url` points: an app may send the check from `/` to its login page, but not to another
 * address of this machine's network.
 */
function get({ host, port }: Target, url: URL, signal: AbortSignal): Promise<{ status: number; location: string | undefined }> {
  return new Promise((resolve, reject) => {
    // X-Forwarded-Proto: apps that send plain requests elsewhere answer this one.
    const headers = { 'user-agent': 'diego-healthcheck', 'x-forwarded-proto': 'https', host: url.host }
    const call = request({ host, port, path: url.pathname + url.search, headers, agent: false, signal }, (response) => {
      resolve({ status: response.statusCode ?? 0, location: response.headers.location })
      // A small answer is read to its end, since some servers complain about callers that hang up.
      let read = 0
      response.on('error', () => undefined)
      response.on('data', (chunk: Buffer) => {
        read += chunk.length
        if (read > MOST_READ_BYTES) call.destroy()
      })
    })
    call.once('error', reject)
    call.end()
  })
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'connection refused'
  if (error.code === 'ECONNRESET') return 'connection reset by peer'
  return error.message
}
