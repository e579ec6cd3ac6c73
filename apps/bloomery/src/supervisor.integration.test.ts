import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive, type ProcessIdentity } from '@bloomery/embedded'
import { eventually } from '@bloomery/testing'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { EventLog } from './event-log.js'
import { EXIT_MISCONFIGURED, RoleProcess, runsFromBefore, type RoleProgram } from './role-process.js'
import { Supervisor } from './supervisor.js'

let folder: string
let supervisor: Supervisor
const made: RoleProcess[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bloomery-roles-'))
  supervisor = new Supervisor(new EventLog(join(folder, 'launcher.log')))
})
afterEach(async () => {
  await supervisor.release()
  await Promise.all(made.splice(0).map((role) => role.stop()))
  rmSync(folder, { recursive: true, force: true })
})

function role(source: string, changes: Partial<RoleProgram> = {}): RoleProcess {
  const program = join(folder, 'program.mjs')
  writeFileSync(program, source)
  const made1 = new RoleProcess(
    { name: 'role', program, nodeOptions: [], env: { PATH: process.env['PATH'] ?? '' }, graceMs: 2_000, ...changes },
    { run: folder, logs: folder },
  )
  made.push(made1)
  return made1
}
const SLEEPER = `setInterval(() => {}, 1000)`

describe('a role in a process of its own', () => {
  it('is taken over by the next launcher while program and settings are the same', async () => {
    const first = await role(SLEEPER).ensure()
    expect(first.adopted).toBe(false)
    expect(runsFromBefore(folder, 'role')).toBe(true)
    const again = new RoleProcess(made[0]?.role as RoleProgram, { run: folder, logs: folder })
    expect(await again.ensure()).toMatchObject({ adopted: true, identity: { pid: first.identity.pid } })
  })

  it('is replaced when its settings have changed', async () => {
    const first = await role(SLEEPER).ensure()
    const changed = new RoleProcess(
      { ...(made[0]?.role as RoleProgram), env: { BLOOMERY_BIND: '0.0.0.0' } },
      { run: folder, logs: folder },
    )
    made.push(changed)
    const second = await changed.ensure()
    expect(second.adopted).toBe(false)
    expect(isAlive(first.identity)).toBe(false)
  })

  it('that takes over is started beside the one that it replaces, which is not stopped', async () => {
    const mark = join(folder, 'taken')
    const told = join(folder, 'told-to-stop')
    const source = `import { existsSync, writeFileSync } from 'node:fs'
      process.on('SIGTERM', () => writeFileSync(${JSON.stringify(told)}, ''))
      if (process.env.BLOOMERY_BIND) writeFileSync(${JSON.stringify(mark)}, '')
      else setInterval(() => existsSync(${JSON.stringify(mark)}) && process.exit(0), 10)
      ${SLEEPER}`
    const first = await role(source, { takesOver: true }).ensure()
    const successor = new RoleProcess(
      { ...(made[0]?.role as RoleProgram), env: { PATH: process.env['PATH'] ?? '', BLOOMERY_BIND: '0.0.0.0' }, graceMs: 100 },
      { run: folder, logs: folder },
    )
    made.push(successor)
    const second = await successor.ensure()
    expect(second).toMatchObject({ adopted: false })
    expect(isAlive(second.identity)).toBe(true)
    expect(isAlive(first.identity)).toBe(false)
    expect(existsSync(told)).toBe(false)
  })

  it('tells why starting it again is in vain', async () => {
    const broken = role(`console.error('PORT is not a number'); process.exit(${EXIT_MISCONFIGURED})`)
    await broken.ensure()
    expect(await eventually(() => broken.complaint)).toContain('PORT is not a number')
  })

  it('is killed when it does not stop in time', async () => {
    const stubborn = role(`process.on('SIGTERM', () => {}); console.log('up'); ${SLEEPER}`, { graceMs: 200 })
    const { identity } = await stubborn.ensure()
    await eventually(() => readFileSync(stubborn.logFile, 'utf8').includes('up'))
    await stubborn.stop()
    expect(isAlive(identity)).toBe(false)
  })
})

describe('the supervisor', () => {
  it('starts again what died, and nothing once it has let go', async () => {
    const ward = role(SLEEPER)
    const identities: ProcessIdentity[] = []
    await supervisor.add({
      name: 'role',
      ensure: async () => {
        const found = await ward.ensure()
        identities.push(found.identity)
        return found
      },
      stop: () => ward.stop(),
    })
    process.kill(identities[0]?.pid ?? 0, 'SIGKILL')
    await eventually(() => identities.length === 2 && isAlive(identities[1] as ProcessIdentity))
    await supervisor.release()
    await supervisor.stop(['role'])
    expect(isAlive(identities[1] as ProcessIdentity)).toBe(false)
    expect(identities).toHaveLength(2)
  })

  it('goes on trying when a start fails', async () => {
    let tries = 0
    const ward = role(SLEEPER)
    await supervisor.add({
      name: 'role',
      ensure: async () => {
        tries++
        if (tries === 2) throw new Error('not now')
        return ward.ensure()
      },
      stop: () => ward.stop(),
    })
    process.kill((await ward.ensure()).identity.pid, 'SIGKILL')
    await eventually(() => tries >= 3)
    expect(readFileSync(join(folder, 'launcher.log'), 'utf8')).toContain('not now')
  })
})
