import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { promisify } from 'node:util'
import type { Mount } from '@bloomery/containers'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { readMavenMirrors } from './runtimes/maven-settings.js'

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

const GO_KEYS = ['GOPROXY', 'GOSUMDB', 'GOPRIVATE', 'GONOSUMDB', 'GONOPROXY', 'GOINSECURE'] as const
const ComposerConfig = z.object({ repositories: z.unknown().optional() })

export interface ClientSurroundings {
  /** Home folder of the user whose settings count. */
  readonly home: string
  /** Go's variables, for machines without Go. */
  readonly go: Readonly<Record<string, string | undefined>>
}

/** Asks the package managers themselves, so that every file and variable they read counts. Credentials beside the address are left out. */
export async function readClientSettings(
  proxies: Readonly<Record<string, string | undefined>>,
  log: Logger,
  surroundings?: ClientSurroundings,
): Promise<ClientSettings> {
  const [npm, pip, go, bundler, others] = await Promise.all([
    ask('npm', ['config', 'list', '--json'], log),
    ask('python3', ['-m', 'pip', 'config', 'list'], log),
    ask('go', ['env', '-json', ...GO_KEYS], log),
    ask('bundle', ['config', 'list', '--parseable'], log),
    surroundings && { maven: await mavenEnvironment(surroundings.home), composer: await composerEnvironment(surroundings.home) },
  ])
  const fromPip = pipEnvironment(pip ?? '')
  const folders = (fromPip['PIP_FIND_LINKS'] ?? '').split(/\s+/).filter((path) => isAbsolute(path))
  return {
    environment: {
      ...Object.fromEntries(Object.entries(proxies).filter((entry): entry is [string, string] => entry[1] !== undefined)),
      ...npmEnvironment(npm ?? '{}'),
      ...fromPip,
      ...goEnvironment(go, surroundings?.go ?? {}),
      ...bundlerEnvironment(bundler ?? ''),
      ...others?.maven,
      ...others?.composer,
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

/** From `go env -json`; without Go, its variables. */
export function goEnvironment(
  json: string | undefined,
  given: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const found = json === undefined ? given : (JSON.parse(json) as Readonly<Record<string, string | undefined>>)
  return Object.fromEntries(GO_KEYS.flatMap((key) => (found[key] ? [[key, found[key]]] : [])))
}

/** From `bundle config list --parseable`: mirrors, as the variables that Bundler reads. */
export function bundlerEnvironment(list: string): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const line of list.split('\n')) {
    const match = /^(mirror\.[^=]+)=(.+)$/.exec(line.trim())
    if (match?.[1] && match[2])
      environment[`BUNDLE_${match[1].replaceAll('.', '__').toUpperCase()}`] = withoutUser(match[2].replace(/^"(.*)"$/, '$1'))
  }
  return environment
}

/** For the buildpacks, which write a settings.xml of it: whole files may hold passwords. */
async function mavenEnvironment(home: string): Promise<Record<string, string>> {
  const mirrors = await readMavenMirrors(home)
  return mirrors.length === 0
    ? {}
    : { MAVEN_MIRRORS: JSON.stringify(mirrors.map((each) => ({ ...each, url: withoutUser(each.url) }))) }
}

/** Composer's own list of repositories, where the user has one. */
async function composerEnvironment(home: string): Promise<Record<string, string>> {
  for (const file of ['.config/composer/config.json', '.composer/config.json'])
    try {
      const { repositories } = ComposerConfig.parse(JSON.parse(await readFile(join(home, file), 'utf8')))
      return repositories === undefined ? {} : { COMPOSER_REPOSITORIES: JSON.stringify(repositories) }
    } catch {
      continue // there is none here, or none that could be read
    }
  return {}
}

function withoutUser(address: string): string {
  if (!URL.canParse(address)) return address
  const url = new URL(address)
  url.username = url.password = ''
  return url.href
}

async function ask(program: string, args: readonly string[], log: Logger): Promise<string | undefined> {
  try {
    return (await run(program, args, { timeout: 20_000 })).stdout
  } catch (error) {
    log.info({ program, err: error }, 'its settings could not be read; staging uses its defaults')
    return undefined
  }
}
