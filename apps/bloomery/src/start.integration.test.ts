import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identify } from '@bloomery/embedded'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { explain } from './launch-error.js'
import { prepareHome } from './home.js'
import { LogTurnover } from './log-turnover.js'
import { internalPorts, requirePublicPorts, tcpRoutePorts } from './ports.js'
import { waitingFor } from './readiness.js'
import { readSettings } from './settings.js'
import { becomeTheLauncher, resignAsLauncher } from './single-launcher.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bloomery-home-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))
const settings = (env: NodeJS.ProcessEnv = {}) => readSettings({ BLOOMERY_HOME: folder, ...env })

describe('BLOOMERY_HOME', () => {
  it('is made once, with private secrets', () => {
    const first = prepareHome(settings())
    expect(first.fresh).toBe(true)
    for (const name of ['admin-password', 'keyring.json']) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
    expect(prepareHome(settings())).toEqual({ ...first, fresh: false })
  })

  it('takes the password that the operator sets', () => {
    prepareHome(settings())
    expect(prepareHome(settings({ BLOOMERY_ADMIN_PASSWORD: 'a-good-password' })).adminPassword).toBe('a-good-password')
    expect(readFileSync(join(folder, 'admin-password'), 'utf8').trim()).toBe('a-good-password')
  })

  it('of a newer version is refused', () => {
    prepareHome(settings())
    writeFileSync(join(folder, 'version'), '99\n')
    expect(() => prepareHome(settings())).toThrow(/newer version of Bloomery/)
  })

  it.each([
    ['BLOOMERY_HTTP_PORT', 'eighty'],
    ['BLOOMERY_ENGINE', 'podman'],
    ['BLOOMERY_ADMIN_PASSWORD', 'short'],
  ])('is not touched when %s is %s', (name, value) => {
    expect(() => settings({ [name]: value })).toThrow(new RegExp(name))
  })
})

describe('ports', () => {
  it('between roles are chosen once, and again when another program has taken one', async () => {
    const path = join(folder, 'ports.json')
    const first = await internalPorts(path, false)
    expect(new Set(Object.values(first)).size).toBe(5)
    expect(await internalPorts(path, false)).toEqual(first)
    const squatter = createServer()
    await new Promise<void>((resolve) => squatter.listen(first.api, '127.0.0.1', resolve))
    const second = await internalPorts(path, false)
    expect(second).toMatchObject({ logs: first.logs, scheduler: first.scheduler })
    expect(second.api).not.toBe(first.api)
    expect((await internalPorts(path, true)).api).toBe(second.api)
    squatter.close()
  })

  it('chooses a range for TCP routes once, beside what is taken', async () => {
    const path = join(folder, 'tcp-ports.json')
    const first = await tcpRoutePorts(path, '127.0.0.9')
    const from = Number(/^(\d+)-/.exec(first)?.[1])
    expect(first).toBe(`${from}-${from + 49}`)
    const holder = createServer()
    await new Promise<void>((resolve) => holder.listen(from + 7, '127.0.0.9', resolve))
    expect(await tcpRoutePorts(path, '127.0.0.9')).toBe(first)
    expect(await tcpRoutePorts(`${path}.other`, '127.0.0.9')).not.toBe(first)
    await new Promise((resolve) => holder.close(resolve))
  })

  it('of the public that are taken are told with the variable to set', async () => {
    const squatter = createServer()
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve))
    const { port } = squatter.address() as AddressInfo
    await expect(requirePublicPorts('127.0.0.1', [{ name: 'BLOOMERY_HTTP_PORT', port }])).rejects.toThrow(
      new RegExp(`Port ${port} .* taken .*BLOOMERY_HTTP_PORT=`),
    )
    squatter.close()
  })
})

describe('the launcher', () => {
  it('is one per home, and one that was killed stands in nobody’s way', () => {
    const api = 'http://localhost:8080'
    expect(becomeTheLauncher(folder, api)).toBeUndefined()
    writeFileSync(join(folder, 'launcher.pid'), JSON.stringify({ ...identify(process.ppid), api: 'http://localhost:9090' }))
    expect(becomeTheLauncher(folder, api)).toEqual({ pid: process.ppid, api: 'http://localhost:9090' })
    writeFileSync(join(folder, 'launcher.pid'), JSON.stringify({ pid: process.ppid, startedAt: 'another boot' }))
    expect(becomeTheLauncher(folder, api)).toBeUndefined()
    resignAsLauncher(folder)
    expect(existsSync(join(folder, 'launcher.pid'))).toBe(false)
  })

  it('bounds the logs of its processes', () => {
    writeFileSync(join(folder, 'control.log'), 'x'.repeat(100))
    new LogTurnover(folder).look(50)
    expect(statSync(join(folder, 'control.log')).size).toBe(0)
    expect(statSync(join(folder, 'control.log.1')).size).toBe(100)
  })

  it.each([
    [Object.assign(new Error('x'), { code: 'ENOSPC', path: '/data' }), /No space is left on the disk at \/data/],
    [Object.assign(new Error('EACCES: mkdir'), { code: 'EACCES', path: '/data' }), /may not make \/data/],
  ])('explains %p', (error, words) => expect(explain(error)).toMatch(words))

  it('refuses an old Node in plain words', () => {
    const start = readFileSync(new URL('../bin/start.mjs', import.meta.url), 'utf8')
    const old = join(folder, 'start.mjs')
    writeFileSync(old, start.replace('process.versions.node.split', "'18.2.0'.split"))
    expect(() => execFileSync(process.execPath, [old], { stdio: 'pipe' })).toThrow(/needs Node.js 20.19/)
  })
})

describe('while it starts', () => {
  it.each([
    [0, 'connect ECONNREFUSED', 'waiting for the router'],
    [503, '{"errors":[{"code":10015}]}', 'waiting for the API'],
    [503, '{"ready":false,"checks":{"database":true,"stager":false,"cells":false}}', 'waiting for stager, cells'],
  ])('an answer of %i %s means: %s', (status, body, words) => expect(waitingFor(status, body)).toBe(words))
})
