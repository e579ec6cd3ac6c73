import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { RouteTable } from './route-table.js'
import { keepTableFile, readTableFile } from './table-file.js'

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'bloomery-table-'))))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('the table on disk', () => {
  it('is what the table was, with its position, and nothing half-written lies beside it', async () => {
    const path = join(dir, 'router/table.json')
    const table = new RouteTable()
    const file = keepTableFile(table, path, silentLogger)
    for (let revision = 1; revision <= 50; revision++)
      table.change([aRoute(`a${revision}.test`, [anEndpoint({ port: revision })])], [], { epoch: '7', revision })
    await file.close()
    expect(readdirSync(join(dir, 'router'))).toEqual(['table.json'])
    const restored = new RouteTable()
    restored.restore((await readTableFile(path, silentLogger))!)
    expect(restored.position).toEqual({ epoch: '7', revision: 50 })
    expect(restored.size).toBe(50)
    expect(restored.find('a9.test', '/')?.endpoints[0]?.hostAddress).toBe('127.0.0.1:9')
  })

  it('is done without when it is absent or damaged', async () => {
    const path = join(dir, 'table.json')
    expect(await readTableFile(path, silentLogger)).toBeUndefined()
    writeFileSync(path, '{"epoch":"1","rev')
    expect(await readTableFile(path, silentLogger)).toBeUndefined()
    expect(readFileSync(path, 'utf8')).toBe('{"epoch":"1","rev')
  })
})

describe('RouteTable', () => {
  const at = (revision: number): { epoch: string; revision: number } => ({ epoch: '1', revision })

  it('tells of endpoints that no route names any more', () => {
    const table = new RouteTable()
    const gone: string[] = []
    table.onWithdrawn(({ instanceGuid }) => gone.push(instanceGuid))
    const [a, b] = [anEndpoint({ port: 1 }), anEndpoint({ port: 2 })]
    table.change([aRoute('one.test', [a, b]), aRoute('two.test', [b])], [], at(1))
    table.change([aRoute('one.test', [a])], [], at(2))
    expect(gone).toEqual([])
    table.change([], ['two.test'], at(3))
    expect(gone).toEqual(['instance-2'])
    table.snapshot([], at(4))
    expect(gone).toEqual(['instance-2', 'instance-1'])
  })

  it('keeps what it has seen of endpoints over a new snapshot', () => {
    const table = new RouteTable()
    const endpoint = anEndpoint({ port: 1 })
    table.snapshot([aRoute('one.test', [endpoint])], at(1))
    table.health.markFailed(endpoint)
    table.snapshot([aRoute('one.test', [endpoint]), aRoute('two.test', [endpoint])], { epoch: '2', revision: 1 })
    expect(table.health.isFailed(endpoint)).toBe(true)
  })

  it('walks round robin and leaves TCP routes alone', () => {
    const table = new RouteTable()
    const route = aRoute('one.test', [anEndpoint({ port: 1 }), anEndpoint({ port: 2 })])
    table.change([route, aRoute('tcp.test', route.endpoints, { protocol: 'tcp', port: 1024 })], [], at(1))
    const first = table.nextCursor(route)
    expect(table.nextCursor(route)).toBe(first + 1)
    expect(table.find('tcp.test', '/')).toBeUndefined()
  })
})
