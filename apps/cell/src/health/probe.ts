import { request } from 'node:http'
import { connect } from 'node:net'
import type { HealthCheck } from '@bloomery/contracts'

const DEFAULT_TIMEOUT_SECONDS = 1

/** Why a check failed, in Cloud Foundry's words; undefined when it passed. */
export type ProbeResult = string | undefined

/** Dials an instance as its check says. A `process` check always passes: the process's end is noticed otherwise. */
export function probe(check: HealthCheck, target: { host: string; port: number }): Promise<ProbeResult> {
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

function probePort({ host, port }: { host: string; port: number }, timeoutMs: number): Promise<ProbeResult> {
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

function probeHttp({ host, port }: { host: string; port: number }, path: string, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    // X-Forwarded-Proto: apps that send plain requests elsewhere answer this one.
    const headers = { 'user-agent': 'diego-healthcheck', 'x-forwarded-proto': 'https', host: `${host}:${port}` }
    const call = request({ host, port, path, headers, agent: false }, (response) => {
      clearTimeout(timer)
      const { statusCode } = response
      call.destroy()
      resolve(
        statusCode === 200
          ? undefined
          : `failed to make HTTP request to '${path}' on port ${port}: received status code ${statusCode ?? 0}`,
      )
    })
    const failed = (why: string) => {
      clearTimeout(timer)
      call.destroy()
      resolve(`failed to make HTTP request to '${path}' on port ${port}: ${why}`)
    }
    const timer = setTimeout(() => failed(`timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`), timeoutMs)
    call.once('error', (error) => failed(reasonOf(error)))
    call.end()
  })
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'connection refused'
  if (error.code === 'ECONNRESET') return 'connection reset by peer'
  return error.message
}
