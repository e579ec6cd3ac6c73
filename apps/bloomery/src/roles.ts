import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { InternalPorts } from './ports.js'
import type { RoleProgram } from './role-process.js'
import type { Settings } from './settings.js'

// From dist/, where the bundle lies.
const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url))

export const repositoryPath = (...names: string[]): string => join(REPOSITORY, ...names)

export interface RoleContext {
  readonly settings: Settings
  readonly installationId: string
  readonly engine: 'docker' | 'process'
  readonly ports: InternalPorts
  /** For TCP routes. */
  readonly tcpPorts: string
  readonly databaseUrl: string
  readonly redisUrl: string
}

/** Where one role's certificate lies and how it comes by one: as on many machines, by a token, here from a private folder. */
export function nodeEnvironment(role: string, home: { nodes: string; run: string }, joinUrl: string): Record<string, string> {
  return {
    BLOOMERY_NODE_DIR: join(home.nodes, role),
    BLOOMERY_NODE_ID: 'main',
    BLOOMERY_JOIN_URL: joinUrl,
    ...(role === 'api' ? {} : { BLOOMERY_JOIN_TOKEN_FILE: join(home.run, 'tokens', role, 'token') }),
  }
}

/** The programs of one machine: control (api, scheduler, stager, logs), cell, router. */
export function rolePrograms(context: RoleContext): { control: RoleProgram; cell: RoleProgram; router: RoleProgram } {
  const { settings, ports } = context
  const { paths } = settings
  const loopback = (port: number): string => `127.0.0.1:${port}`
  const joinUrl = `https://${loopback(ports.apiInternal)}`
  const quietly = ['--import', repositoryPath('apps/bloomery/dist/idle-memory.entry.js')]
  const everywhere = {
    ...definedOnly(settings.inherited),
    BLOOMERY_HOME: paths.home,
    BLOOMERY_BIND: settings.BLOOMERY_BIND,
    BLOOMERY_HTTP_PORT: String(settings.BLOOMERY_HTTP_PORT),
    BLOOMERY_HTTPS_PORT: String(settings.BLOOMERY_HTTPS_PORT),
    BLOOMERY_SSH_PORT: String(settings.BLOOMERY_SSH_PORT),
    BLOOMERY_TCP_PORTS: context.tcpPorts,
    BLOOMERY_SYSTEM_DOMAIN: settings.BLOOMERY_SYSTEM_DOMAIN,
    BLOOMERY_APPS_DOMAIN: settings.BLOOMERY_APPS_DOMAIN,
    BLOOMERY_TENANT_ADDRESSES: settings.inherited['BLOOMERY_TENANT_ADDRESSES'] ?? frontDoor(settings),
    BLOOMERY_INSTALLATION_ID: context.installationId,
    BLOOMERY_ENGINE: context.engine,
    BLOOMERY_STACK_IMAGE: settings.BLOOMERY_STACK_IMAGE,
    BLOOMERY_SCHEDULER_URL: `https://${loopback(ports.scheduler)}`,
    BLOOMERY_LOGS_URL: `https://${loopback(ports.logs)}`,
    NODE_ENV: 'production',
    // glibc keeps an arena per thread otherwise.
    MALLOC_ARENA_MAX: '2',
  }
  // Cells and routers are trusted with less: neither database nor keyring.
  const outside = without(everywhere, [
    'DATABASE_URL',
    'REDIS_URL',
    'BLOBSTORE_URL',
    'BLOOMERY_ADMIN_PASSWORD',
    'BLOOMERY_KEYRING_FILE',
    'BLOOMERY_BROKER_PASSWORD',
  ])
  return {
    control: {
      name: 'control',
      program: repositoryPath('apps/bloomery/dist/control.entry.js'),
      nodeOptions: ['--max-semi-space-size=4', ...quietly],
      graceMs: 12_000,
      env: {
        ...without(everywhere, ['BLOOMERY_ADMIN_PASSWORD']),
        DATABASE_URL: context.databaseUrl,
        REDIS_URL: context.redisUrl,
        BLOBSTORE_URL: settings.BLOBSTORE_URL ?? `file:${paths.blobs}`,
        BLOOMERY_BLOBS_URL: joinUrl,
        BLOOMERY_KEYRING_FILE: paths.keyring,
        BLOOMERY_ADMIN_PASSWORD_FILE: paths.adminPassword,
        BLOOMERY_API_LISTEN: loopback(ports.api),
        BLOOMERY_API_INTERNAL_LISTEN: loopback(ports.apiInternal),
        BLOOMERY_SCHEDULER_LISTEN: loopback(ports.scheduler),
        BLOOMERY_LOGS_LISTEN: loopback(ports.logs),
        BLOOMERY_BOOTSTRAP_TOKENS_DIR: join(paths.run, 'tokens'),
        BLOOMERY_JOIN_URL: joinUrl,
        BLOOMERY_BROKER: settings.BLOOMERY_BROKER,
        BLOOMERY_BROKER_LISTEN: loopback(ports.broker),
        BLOOMERY_BROKER_PASSWORD_FILE: paths.brokerPassword,
      },
    },
    cell: {
      name: 'cell',
      program: repositoryPath('apps/cell/dist/main.js'),
      nodeOptions: ['--max-semi-space-size=2', ...quietly],
      graceMs: 8_000,
      env: { ...outside, ...nodeEnvironment('cell', paths, joinUrl) },
    },
    router: {
      name: 'router',
      program: repositoryPath('apps/router/dist/main.js'),
      nodeOptions: ['--max-semi-space-size=4', ...quietly],
      graceMs: 8_000,
      takesOver: true,
      env: {
        ...outside,
        ...nodeEnvironment('router', paths, joinUrl),
        BLOOMERY_LOCAL_CELLS: 'main',
        BLOOMERY_API_UPSTREAMS: `http://${loopback(ports.api)}`,
      },
    },
  }
}

/** Brokers and drains may be apps of this platform: the public ports, where names lead that mean this machine. */
function frontDoor({ BLOOMERY_BIND: bind, BLOOMERY_HTTP_PORT: http, BLOOMERY_HTTPS_PORT: https }: Settings): string {
  const isEverywhere = bind === '0.0.0.0' || bind === '::'
  const hosts = new Set(['127.0.0.1', '[::1]', ...(isEverywhere ? [] : [bind.includes(':') ? `[${bind}]` : bind])])
  return [...hosts].flatMap((host) => [`${host}:${http}`, `${host}:${https}`]).join(',')
}

export const roleIsBuilt = (role: RoleProgram): boolean => existsSync(role.program)

const definedOnly = (env: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined))

const without = (env: Record<string, string>, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name) && !names.includes(name.replace(/_FILE$/, ''))))
