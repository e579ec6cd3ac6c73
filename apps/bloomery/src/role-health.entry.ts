import { statSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { DatabaseEnv, homePaths, parseEnvironment } from '@bloomery/config'
import type { NodeRole } from '@bloomery/contracts'
import { clientTlsOptions, loadNodeIdentity, remainingLifetime } from '@bloomery/pki'
import { dockerAnswers } from './docker-engine.js'

// `role-health.entry.js <role>`, in the role's own environment: exits with 0 if the role does its work, else says why and exits
// with 1. For health checks of containers, which cannot present a certificate.
const TIMEOUT_MS = 4_000
const HEARTBEAT_MS = 30_000

const setting = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}
const portOf = (listen: string): number => Number(listen.slice(listen.lastIndexOf(':') + 1))

const checks: Readonly<Record<string, () => Promise<void>>> = {
  api: () => answers(portOf(setting('BLOOMERY_API_LISTEN'))),
  // As load balancers ask: about the router itself, whatever the API says.
  router: () => answers(portOf(`:${setting('BLOOMERY_HTTP_PORT')}`), { 'user-agent': 'HTTP-Monitor/1.1' }),
  broker: () => {
    const listen = setting('BLOOMERY_BROKER_LISTEN')
    return answers(portOf(listen), {}, { host: listen.slice(0, listen.lastIndexOf(':')), path: '/healthz' })
  },
  scheduler: () => shakesHands('scheduler', portOf(setting('BLOOMERY_SCHEDULER_LISTEN'))),
  logs: () => shakesHands('logs', portOf(setting('BLOOMERY_LOGS_LISTEN'))),
  cell: async () => {
    requireCertificate()
    const { mtimeMs } = statSync(join(homePaths(setting('BLOOMERY_HOME')).cell, 'heartbeat'))
    if (Date.now() - mtimeMs > HEARTBEAT_MS) throw new Error(`the agent has given no sign for ${HEARTBEAT_MS / 1000} s`)
    if (process.env['BLOOMERY_ENGINE'] !== 'process' && !(await dockerAnswers()))
      throw new Error('the container engine does not answer')
  },
  stager: async () => {
    requireCertificate()
    const { createPool, rows, sql } = await import('@bloomery/database/sql')
    const pool = createPool(parseEnvironment(DatabaseEnv, process.env).DATABASE_URL, {
      max: 1,
      applicationName: 'bloomery-health',
    })
    try {
      const lease = `stager:${process.env['BLOOMERY_NODE_ID'] || 'main'}`
      const held = await rows(pool, sql`SELECT 1 FROM leases WHERE name = ${lease} AND expires_at > clock_timestamp()`)
      if (held.length === 0) throw new Error('the stager does not hold its lease')
    } finally {
      await pool.end()
    }
  },
}

function answers(
  port: number,
  headers: Record<string, string> = {},
  { host = '127.0.0.1', path = '/' }: { host?: string; path?: string } = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = get({ host, port, path, headers, timeout: TIMEOUT_MS, agent: false }, (response) => {
      response.resume()
      if (response.statusCode === 200) resolve()
      else reject(new Error(`port ${port} answers ${response.statusCode ?? 'nothing'}`))
    })
    call.once('timeout', () => call.destroy(new Error(`port ${port} does not answer`)))
    call.once('error', reject)
  })
}

/** Internal listeners speak only to holders of a certificate: the role's own does. */
function shakesHands(role: NodeRole, port: number): Promise<void> {
  const identity = requireCertificate()
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: TIMEOUT_MS, ...clientTlsOptions(identity, role) })
    socket.once('secureConnect', () => {
      socket.destroy()
      resolve()
    })
    socket.once('timeout', () => socket.destroy(new Error(`port ${port} does not answer`)))
    socket.once('error', reject)
  })
}

function requireCertificate() {
  const dir = setting('BLOOMERY_NODE_DIR')
  const identity = loadNodeIdentity(dir)
  if (!identity) throw new Error(`no certificate in ${dir} yet`)
  if (remainingLifetime(identity.certificatePem) <= 0) throw new Error(`the certificate in ${dir} has expired`)
  return identity
}

const [role = ''] = process.argv.slice(2)
try {
  const check = checks[role]
  if (!check) throw new Error(`There is no check for '${role}'; roles: ${Object.keys(checks).join(', ')}.`)
  await check()
  process.exit(0)
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  process.exit(1)
}
