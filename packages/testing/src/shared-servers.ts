import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { identify, isAlive, startPostgres, stopProcess, type ProcessIdentity } from '@bloomery/embedded'

const ROOT = join(tmpdir(), `bloomery-tests-${userInfo().uid}`)

/** One Postgres for all test files of a jest run, started by the first that needs it. bin/stop-servers.mjs ends it with the run. */
export async function sharedPostgres(): Promise<string> {
  const run = identify(process.send ? process.ppid : process.pid)
  if (!run) throw new Error('The jest process cannot be identified.')
  await removeLeftovers()
  const home = join(ROOT, String(run.pid))
  const urlFile = join(home, 'url')
  const lock = join(home, 'starting')
  mkdirSync(home, { recursive: true, mode: 0o711 })
  for (const end = Date.now() + 60_000; Date.now() < end; await delay(50)) {
    if (existsSync(urlFile)) return readFileSync(urlFile, 'utf8')
    try {
      mkdirSync(lock)
    } catch {
      continue // another worker starts it
    }
    writeFileSync(join(home, 'run.json'), JSON.stringify(run))
    const server = await startPostgres({
      home,
      installationId: `tests-${run.pid}`,
      logFile: join(home, 'postgres.log'),
      settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '200' },
    })
    writeFileSync(join(home, 'server.json'), JSON.stringify(server.identity))
    writeFileSync(`${urlFile}.new`, server.url)
    renameSync(`${urlFile}.new`, urlFile)
    return server.url
  }
  throw new Error(`The Postgres for tests did not start within 60 s; see ${home}.`)
}

/** Servers of runs that were killed before they could clean up. */
async function removeLeftovers(): Promise<void> {
  if (!existsSync(ROOT)) return
  for (const name of readdirSync(ROOT)) {
    const [run, server] = ['run.json', 'server.json'].map((file) => readIdentity(join(ROOT, name, file)))
    if (!run || isAlive(run)) continue
    if (server) await stopProcess(server, [['SIGQUIT', 3_000]])
    rmSync(join(ROOT, name), { recursive: true, force: true })
  }
}

function readIdentity(path: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProcessIdentity
  } catch {
    return undefined // not there, or not yet whole
  }
}
