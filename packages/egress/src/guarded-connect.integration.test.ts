import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parseAllowedDestination, type TenantAddressPolicy } from '@bloomery/domain'
import { guardedConnect, guardedConnector, RefusedAddressError } from './guarded-connect.js'

const STRICT: TenantAddressPolicy = { allowed: [], own: [] }
const allowing = (text: string): TenantAddressPolicy => {
  const destination = parseAllowedDestination(text)
  return { allowed: destination ? [destination] : [], own: [] }
}

describe('guardedConnect', () => {
  let server: Server
  let port: number
  let connections = 0
  beforeAll(async () => {
    server = createServer((socket) => {
      connections++
      socket.on('error', () => undefined)
      socket.end('hello')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  afterAll(() => {
    server.close()
  })

  it.each(['127.0.0.1', 'localhost', '::1', '::ffff:127.0.0.1'])('refuses %s without connecting', async (host) => {
    const before = connections
    await expect(guardedConnect(STRICT, { host, port })).rejects.toThrow(RefusedAddressError)
    expect(connections).toBe(before)
  })
  it('connects to what the operator allows', async () => {
    const socket = await guardedConnect(allowing(`127.0.0.1:${port}`), { host: '127.0.0.1', port })
    socket.destroy()
    await expect(guardedConnect(allowing(`127.0.0.1:${port + 1}`), { host: '127.0.0.1', port })).rejects.toThrow(/loopback/)
  })
  it('judges each address that a name resolves to, and connects to the one it judged', async () => {
    let asked = 0
    const rebinding = async () => {
      asked++
      return asked === 1 ? [{ address: '10.0.0.1' }, { address: '127.0.0.1' }] : [{ address: '127.0.0.1' }]
    }
    const socket = await guardedConnect(allowing('127.0.0.1'), { host: 'rebind.example', port }, rebinding)
    expect(socket.remoteAddress).toBe('127.0.0.1')
    expect(asked).toBe(1)
    socket.destroy()
  })
  it('gives up in time on a name that does not resolve', async () => {
    const never = () => new Promise<never>(() => undefined)
    await expect(guardedConnect(STRICT, { host: 'slow.example', port, timeoutMs: 30 }, never)).rejects.toThrow()
  })
  it('serves as a connector', async () => {
    const connect = guardedConnector(STRICT)
    const error = await new Promise((resolve) =>
      connect({ hostname: '[::1]', port: String(port), protocol: 'http:' }, (...[failure]) => resolve(failure)),
    )
    expect(error).toBeInstanceOf(RefusedAddressError)
  })
})
