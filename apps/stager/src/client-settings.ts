import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { promisify } from 'node:util'
import type { Mount } from '@bloomery/containers'
import type { Logger } from '@bloomery/telemetry'

const run = promisify(execFile)

/** How this machine's package managers are set up: staging installs packages from where its owner does. */
export interface ClientSettings {
  readonly environment: Readonly<Record<string, string>>
  /** Folders that these settings name. */
  readonly mounts: readonly Mount[]
}

const NPM_KEYS = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl', 'fetch-retries', 'fetch-timeout', 'maxsockets']
const PIP_KEYS = [
  'index-url',
  'extra-index-url',
  'no-index',
  'find-links',
  'trusted-host',
  'default-timeout',
  'timeout',
  'retries',
  'proxy',
]

/** Asks npm and pip themselves, so that every file and variable they read counts. Credentials beside the address are left out. */
export async function readClientSettings(
  proxies: Readonly<Record<string, string | undefined>>,
  log: Logger,
): Promise<ClientSettings> {
  const [npm, pip] = await Promise.all([
    ask('npm', ['config', 'list', '--json'], log),
    ask('python3', ['-m', 'pip', 'config', 'list'], log),
  ])
  const fromPip = pipEnvironment(pip ?? '')
  const folders = (fromPip['PIP_FIND_LINKS'] ?? '').split(/\s+/).filter((path) => isAbsolute(path))
  return {
    environment: {
      ...Object.fromEntries(Object.entries(proxies).filter((entry): entry is [string, string] => entry[1] !== undefined)),
      ...npmEnvironment(npm ?? '{}'),
      ...fromPip,
    },
    mounts: folders.filter((path) => existsSync(path)).map((path) => ({ source: path, target: path, readOnly: true })),
  }
}

/** From `npm config list --json`. Only what differs from npm's own defaults would matter, and the registry. */
export function npmEnvironment(json: string): Record<string, string> {
  const found = JSON.parse(json) as Record<string, unknown>
  const environment: Record<string, string> = {}
  for (const [key, value] of Object.entries(found)) {
    if (value === null || value === '' || typeof value === 'object') continue
    const text = String(value)
    if (NPM_KEYS.includes(key)) environment[`NPM_CONFIG_${key.toUpperCase().replaceAll('-', '_')}`] = text
    else if (/^@[^/]+:registry$/.test(key)) environment[`npm_config_${key}`] = text
  }
  return environment
}

/** From `pip config list`: lines such as  global.index-url='https://…'. Variables of the process come last and win. */
export function pipEnvironment(list: string): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const line of list.split('\n')) {
    const match = /^(?:global|install|:env:)\.([a-z-]+)='(.*)'$/.exec(line.trim())
    if (match?.[1] === undefined || match[2] === undefined || !PIP_KEYS.includes(match[1])) continue
    environment[`PIP_${match[1].toUpperCase().replaceAll('-', '_')}`] = match[2].replaceAll('\\n', ' ').trim()
  }
  return environment
}

async function ask(program: string, args: readonly string[], log: Logger): Promise<string | undefined> {
  try {
    return (await run(program, args, { timeout: 20_000 })).stdout
  } catch (error) {
    log.info({ program, err: error }, 'its settings could not be read; staging uses its defaults')
    return undefined
  }
}
