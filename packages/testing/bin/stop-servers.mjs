// jest's globalTeardown: ends the Postgres that the test files of this run shared.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const alive = (pid) => {
  try {
    process.kill(pid, 0)
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

export default async function stopServers() {
  const home = join(tmpdir(), `bloomery-tests-${userInfo().uid}`, String(process.pid))
  if (!existsSync(join(home, 'server.json'))) return
  const { pid } = JSON.parse(readFileSync(join(home, 'server.json'), 'utf8'))
  // Nothing in it is worth a checkpoint.
  if (alive(pid)) process.kill(pid, 'SIGQUIT')
  for (let tries = 0; tries < 200 && alive(pid); tries++) await delay(25)
  rmSync(home, { recursive: true, force: true })
  rmSync(join('/var/lib/bloomery', `tests-${process.pid}`), { recursive: true, force: true })
}
