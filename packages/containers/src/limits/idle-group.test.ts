import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { IdleGroup } from './idle-group.js'

describe.each([1, 2])('a control group of version %d that gives way', (version) => {
  let root: string
  let cpu: string
  const statOf = (idle: number): string => `cpu  10 0 10 ${idle} 0 0 0 0 0 0\ncpu0 5 0 5 ${idle} 0 0 0 0 0 0\n`
  const write = (file: string, text: string) => writeFile(join(cpu, file), text)
  const read = (file: string) => readFile(join(cpu, file), 'utf8')

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'bloomery-groups-'))
    if (version === 2) await writeFile(join(root, 'cgroup.controllers'), 'cpu memory pids')
    cpu = version === 2 ? join(root, 'builds') : join(root, 'cpu/builds')
    await mkdir(cpu, { recursive: true })
    await write('cpu.idle', '0\n')
    await mkdir(join(root, 'cpuacct/builds'), { recursive: true })
    await writeFile(join(root, 'stat'), statOf(0))
    await used(0)
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  const used = (seconds: number) =>
    version === 2
      ? write('cpu.stat', `usage_usec ${seconds * 1e6}\nuser_usec 0\n`)
      : writeFile(join(root, 'cpuacct/builds/cpuacct.usage'), `${seconds * 1e9}\n`)
  const group = () => new IdleGroup('/builds', root, root)

  it('gives way from the start', async () => {
    expect(await group().apply()).toBe(true)
    expect(await read('cpu.idle')).toBe('1')
  })

  it('has a share where others want all of the machine, and gives way again when there is time to spare', async () => {
    const builds = group()
    await builds.apply()
    await builds.balance()
    await builds.balance()
    expect(await read('cpu.idle')).toBe('0')
    expect(await read(version === 2 ? 'cpu.weight' : 'cpu.shares')).toBe(version === 2 ? '25' : '256')
    await writeFile(join(root, 'stat'), statOf(1e9))
    await builds.balance()
    expect(await read('cpu.idle')).toBe('1')
  })

  it('goes on giving way while it has the machine', async () => {
    const builds = group()
    await builds.apply()
    await builds.balance()
    await used(1e6)
    await builds.balance()
    expect(await read('cpu.idle')).toBe('1')
  })

  it('is set again where somebody else has changed it', async () => {
    const builds = group()
    await builds.apply()
    await builds.balance()
    await write('cpu.idle', '0\n')
    await used(1e6)
    await builds.balance()
    expect(await read('cpu.idle')).toBe('1')
  })

  it('gives way again when its last member has ended', async () => {
    const builds = group()
    await builds.apply()
    await builds.balance()
    await builds.balance()
    expect(await read('cpu.idle')).toBe('0')
    await builds.rest()
    expect(await read('cpu.idle')).toBe('1')
  })

  it('tells its members', async () => {
    await mkdir(join(cpu, 'one'))
    expect(await group().members()).toEqual(['one'])
  })

  it('is not to be had from an older kernel, nor where there are no control groups', async () => {
    await rm(join(cpu, 'cpu.idle'))
    expect(await group().apply()).toBe(false)
    expect(await new IdleGroup('/builds', join(root, 'nowhere'), root).apply()).toBe(false)
    expect(await new IdleGroup('/builds', join(root, 'nowhere'), root).members()).toEqual([])
  })
})
