import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import type Docker from 'dockerode'
import { IdleGroup } from '../limits/idle-group.js'
import { StagingGroup } from './staging-group.js'

describe('the control group of builds', () => {
  let root: string
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'bloomery-groups-'))
    await writeFile(join(root, 'cgroup.controllers'), 'cpu')
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  const engineWith = (driver: string) => ({ info: () => Promise.resolve({ CgroupDriver: driver }) }) as unknown as Docker
  async function groupOf(driver: string, folder: string | undefined) {
    if (folder !== undefined) {
      await mkdir(join(root, folder), { recursive: true })
      await writeFile(join(root, folder, 'cpu.idle'), '0\n')
    }
    const warn = jest.spyOn(silentLogger, 'warn')
    const group = new StagingGroup(silentLogger, (path) => new IdleGroup(path, root, root))
    await group.prepare(engineWith(driver))
    return { group, told: () => warn.mock.calls.length, end: () => (group.close(), warn.mockRestore()) }
  }

  it.each([
    ['cgroupfs', 'bloomery_staging', '/bloomery_staging'],
    ['systemd', 'bloomery_staging.slice', 'bloomery_staging.slice'],
  ])('is named as the driver %s wants it, and set again where that gives it a share', async (driver, folder, parent) => {
    const { group, told, end } = await groupOf(driver, folder)
    expect(await group.parent()).toBe(parent)
    await mkdir(join(root, folder, 'docker-4711.scope'))
    await writeFile(join(root, folder, 'cpu.idle'), '0\n')
    await group.started('4711', () => Promise.resolve(true))
    expect(await readFile(join(root, folder, 'cpu.idle'), 'utf8')).toBe('1')
    expect(told()).toBe(0)
    end()
  })

  it('is not used where it cannot be made, nor with a driver that nobody knows; that is said once', async () => {
    for (const [driver, folder] of [
      ['cgroupfs', undefined],
      ['none', 'bloomery_staging'],
    ] as const) {
      const { group, told, end } = await groupOf(driver, folder)
      expect([await group.parent(), await group.parent(), told()]).toEqual([undefined, undefined, 1])
      end()
    }
  })

  it("is not used any more once the engine's groups turn out to be others; an end before that was seen says nothing", async () => {
    const { group, told, end } = await groupOf('cgroupfs', 'bloomery_staging')
    await group.started('ended', () => Promise.resolve(false))
    expect([await group.parent(), told()]).toEqual(['/bloomery_staging', 0])
    await group.started('elsewhere', () => Promise.resolve(true))
    await group.prepare(engineWith('cgroupfs'))
    expect([await group.parent(), told()]).toEqual([undefined, 1])
    end()
  })
})
