import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { SyslogDrains } from '@bloomery/contracts'
import { createInternalServer, internalPeer } from '@bloomery/feeds'
import { makeTestIdentity } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { eventually } from '@bloomery/testing'
import { followDrains } from './follow-drains.js'

describe('the list of drains', () => {
  const closing: (() => void)[] = []
  afterEach(() => {
    for (const step of closing.splice(0)) step()
  })

  it('is asked for again and again, applied when it changes, and kept while the api is away', async () => {
    const { identity, authority } = await makeTestIdentity('logs')
    const { identity: api } = await makeTestIdentity('api', { authority })
    let list: SyslogDrains = { revision: 'r1', drains: [] }
    const asked: string[] = []
    const serve = async (port: number): Promise<Server> => {
      const server = createInternalServer(api, (request, response) => {
        asked.push(`${internalPeer(request)?.role ?? ''} ${request.url ?? ''}`)
        const known = new URL(request.url ?? '', 'https://api').searchParams.get('revision')
        if (known === list.revision) return response.writeHead(204).end()
        return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(list))
      })
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
      closing.push(() => {
        server.closeAllConnections()
        server.close()
      })
      return server
    }
    const server = await serve(0)
    const { port } = server.address() as AddressInfo
    const applied: string[] = []
    const following = followDrains({
      url: `https://127.0.0.1:${port}`,
      identity: () => identity,
      apply: async ({ revision }) => void applied.push(revision),
      log: silentLogger,
      pollMs: 20,
    })
    closing.push(() => following.close())
    await eventually(() => asked.length > 2)
    expect(applied).toEqual(['r1'])
    expect(asked.slice(0, 2)).toEqual(['logs /internal/syslog-drains', 'logs /internal/syslog-drains?revision=r1'])
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    list = { revision: 'r2', drains: [] }
    await serve(port)
    await eventually(() => applied.includes('r2'))
    expect(applied).toEqual(['r1', 'r2'])
  })
})
