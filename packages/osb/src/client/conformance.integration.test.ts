import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { decodeIdentity } from '../protocol/headers.js'
import { ScriptedBroker, type Script, type ScriptedOperation } from '../scripted-broker.fixture.js'
import { BrokerClient, type CallOptions } from './broker-client.js'
import type { FailureReason, Outcome, PollOutcome } from './outcome.js'
import { openBrokerConnections } from './transport.js'

const PLAN = { serviceId: 'service-db', planId: 'plan-small' }
const IDS = { service_id: PLAN.serviceId, plan_id: PLAN.planId }
const PROVISION = { ...IDS, organization_guid: 'o', space_guid: 's', context: { platform: 'cloudfoundry' } }
const TIMEOUT_MS = 600

type Changing = 'provision' | 'update' | 'deprovision' | 'bind' | 'unbind'
const CHANGING: readonly Changing[] = ['provision', 'update', 'deprovision', 'bind', 'unbind']

describe('the platform as a client of brokers', () => {
  const connections = openBrokerConnections()
  let broker: ScriptedBroker
  let client: BrokerClient
  beforeAll(async () => {
    broker = await ScriptedBroker.start()
    client = new BrokerClient(broker, { connections, timeoutMs: TIMEOUT_MS, apiInfoLocation: 'api.example.com/' })
  })
  beforeEach(() => {
    broker.reset()
    broker.instances.clear()
  })
  afterAll(async () => {
    await connections.close()
    await broker.stop()
  })

  const ask = (operation: Changing, call?: CallOptions): Promise<Outcome<unknown>> => {
    switch (operation) {
      case 'provision':
        return client.provision('i', PROVISION, call)
      case 'update':
        return client.update('i', IDS, call)
      case 'deprovision':
        return client.deprovision('i', PLAN, call)
      case 'bind':
        return client.bind('i', 'b', { ...IDS, bind_resource: {} }, call)
      case 'unbind':
        return client.unbind('i', 'b', PLAN, call)
    }
  }
  /** `done`, `in progress`, or the reason with a * where an orphan may be left. */
  const short = (outcome: Outcome<unknown>): string =>
    outcome.kind === 'failed' ? `${outcome.reason}${outcome.orphan ? '*' : ''}` : outcome.kind

  // The specification's table: what each operation makes of each status; * where orphan mitigation must follow.
  const bad = 'bad-response'
  it.each<[string, Script, Record<Changing, string>]>([
    ['200', { status: 200, body: {} }, { provision: 'done', update: 'done', deprovision: 'done', bind: 'done', unbind: 'done' }],
    ['201', { status: 201, body: {} }, { provision: 'done', update: bad, deprovision: bad, bind: 'done', unbind: bad }],
    [
      '202',
      { status: 202, body: {} },
      { provision: 'in progress', update: 'in progress', deprovision: 'in progress', bind: 'in progress', unbind: 'in progress' },
    ],
    ['204', { status: 204, body: '' }, { provision: `${bad}*`, update: bad, deprovision: bad, bind: `${bad}*`, unbind: bad }],
    ['206', { status: 206, body: {} }, { provision: `${bad}*`, update: bad, deprovision: bad, bind: `${bad}*`, unbind: bad }],
    [
      '200 malformed',
      { status: 200, body: 'no json' },
      { provision: 'malformed', update: 'malformed', deprovision: 'malformed', bind: 'malformed', unbind: 'malformed' },
    ],
    [
      '200 of another type',
      { status: 200, body: [] },
      { provision: 'malformed', update: 'malformed', deprovision: 'malformed', bind: 'malformed', unbind: 'malformed' },
    ],
    [
      '201 malformed',
      { status: 201, body: '{' },
      { provision: 'malformed*', update: bad, deprovision: bad, bind: 'malformed*', unbind: bad },
    ],
    [
      '202 malformed',
      { status: 202, body: '' },
      { provision: 'malformed*', update: 'malformed', deprovision: 'malformed', bind: 'malformed*', unbind: 'malformed' },
    ],
    [
      '202 with a wrong operation',
      { status: 202, body: { operation: 7 } },
      { provision: 'malformed*', update: 'malformed', deprovision: 'malformed', bind: 'malformed*', unbind: 'malformed' },
    ],
    [
      '202 with a long operation',
      { status: 202, body: { operation: 'x'.repeat(10_001) } },
      { provision: 'malformed*', update: 'malformed', deprovision: 'malformed', bind: 'malformed*', unbind: 'malformed' },
    ],
    [
      '301',
      { status: 301, body: {} },
      { provision: 'redirect', update: 'redirect', deprovision: 'redirect', bind: 'redirect', unbind: 'redirect' },
    ],
    [
      '400',
      { status: 400, body: {} },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'rejected', unbind: 'rejected' },
    ],
    [
      '401',
      { status: 401, body: {} },
      {
        provision: 'unauthorized',
        update: 'unauthorized',
        deprovision: 'unauthorized',
        bind: 'unauthorized',
        unbind: 'unauthorized',
      },
    ],
    [
      '403',
      { status: 403, body: {} },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'rejected', unbind: 'rejected' },
    ],
    [
      '404',
      { status: 404, body: {} },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'rejected', unbind: 'rejected' },
    ],
    [
      '408',
      { status: 408, body: {} },
      { provision: 'timeout', update: 'timeout', deprovision: 'timeout', bind: 'timeout', unbind: 'timeout' },
    ],
    [
      '409',
      { status: 409, body: {} },
      { provision: 'conflict', update: 'rejected', deprovision: 'rejected', bind: 'conflict', unbind: 'rejected' },
    ],
    [
      '410',
      { status: 410, body: {} },
      { provision: 'gone*', update: 'gone', deprovision: 'done', bind: 'gone*', unbind: 'done' },
    ],
    [
      '412',
      { status: 412, body: {} },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'rejected', unbind: 'rejected' },
    ],
    [
      '422',
      { status: 422, body: {} },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'rejected', unbind: 'rejected' },
    ],
    [
      'AsyncRequired',
      { status: 422, body: { error: 'AsyncRequired' } },
      {
        provision: 'async-required',
        update: 'async-required',
        deprovision: 'async-required',
        bind: 'async-required',
        unbind: 'async-required',
      },
    ],
    [
      'ConcurrencyError',
      { status: 422, body: { error: 'ConcurrencyError' } },
      { provision: 'concurrency', update: 'concurrency', deprovision: 'concurrency', bind: 'concurrency', unbind: 'concurrency' },
    ],
    [
      'RequiresApp',
      { status: 422, body: { error: 'RequiresApp' } },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'requires-app', unbind: 'rejected' },
    ],
    [
      'MaintenanceInfoConflict',
      { status: 422, body: { error: 'MaintenanceInfoConflict' } },
      {
        provision: 'maintenance-info-conflict',
        update: 'maintenance-info-conflict',
        deprovision: 'rejected',
        bind: 'rejected',
        unbind: 'rejected',
      },
    ],
    [
      'a code of an object',
      { status: 422, body: { error: 'constructor' } },
      { provision: 'rejected', update: 'rejected', deprovision: 'rejected', bind: 'rejected', unbind: 'rejected' },
    ],
    ['500', { status: 500, body: {} }, { provision: `${bad}*`, update: bad, deprovision: bad, bind: `${bad}*`, unbind: bad }],
    ['503', { status: 503, body: 'down' }, { provision: `${bad}*`, update: bad, deprovision: bad, bind: `${bad}*`, unbind: bad }],
    [
      'no answer',
      { hang: true },
      { provision: 'timeout*', update: 'timeout', deprovision: 'timeout', bind: 'timeout*', unbind: 'timeout' },
    ],
    [
      'an answer byte by byte',
      { trickleMs: 20, body: { pad: 'x'.repeat(400) } },
      { provision: 'timeout*', update: 'timeout', deprovision: 'timeout', bind: 'timeout*', unbind: 'timeout' },
    ],
    [
      'a broken connection',
      { breakOff: true },
      {
        provision: 'unreachable*',
        update: 'unreachable',
        deprovision: 'unreachable',
        bind: 'unreachable*',
        unbind: 'unreachable',
      },
    ],
    [
      '10 MB',
      { padBytes: 10 * 1024 * 1024 },
      { provision: 'too-large*', update: 'too-large', deprovision: 'too-large', bind: 'too-large*', unbind: 'too-large' },
    ],
  ])('%s', async (_name, script, expected) => {
    for (const operation of CHANGING) {
      broker.script(operation, { does: true, ...script })
      broker.instances.set('i', { body: {}, bindings: new Map([['b', {}]]) })
    }
    const outcomes = await Promise.all(CHANGING.map(async (operation) => [operation, short(await ask(operation))]))
    expect(Object.fromEntries(outcomes)).toEqual(expected)
  })

  it.each<[string, unknown, boolean]>([
    ['credentials of another type', { credentials: 'text' }, true],
    ['a drain of another type', { syslog_drain_url: 5 }, true],
    ['volumes of another type', { volume_mounts: [{ driver: 'd' }] }, true],
    [
      'a device type that is not shared',
      { volume_mounts: [{ driver: 'd', container_dir: '/x', mode: 'rw', device_type: 'x', device: { volume_id: 'v' } }] },
      true,
    ],
    ['nulls', { credentials: null, syslog_drain_url: null, volume_mounts: null }, false],
    [
      'all of it',
      {
        credentials: {},
        syslog_drain_url: 'syslog://x',
        route_service_url: 'https://x',
        volume_mounts: [
          { driver: 'd', container_dir: '/x', mode: 'rw', device_type: 'shared', device: { volume_id: 'v', mount_config: null } },
        ],
        endpoints: [{ host: 'h', ports: ['1-2'] }],
        metadata: { expires_at: 'x' },
        unknown: 1,
      },
      false,
    ],
  ])('bind with %s', async (_name, body, isMalformed) => {
    broker.script('bind', { status: 201, body })
    expect(short(await ask('bind'))).toBe(isMalformed ? 'malformed*' : 'done')
  })

  it.each<[string, Script, Partial<PollOutcome>]>([
    [
      'in progress',
      { body: { state: 'in progress', description: 'half' } },
      { kind: 'state', state: 'in progress', description: 'half' },
    ],
    [
      'a time to wait',
      { body: { state: 'in progress' }, headers: { 'retry-after': '7' } },
      { kind: 'state', retryAfterSeconds: 7 },
    ],
    ['succeeded', { body: { state: 'succeeded' } }, { kind: 'state', state: 'succeeded' }],
    [
      'failed',
      { body: { state: 'failed', description: 'why', instance_usable: false } },
      { kind: 'state', state: 'failed', description: 'why', instanceUsable: false },
    ],
    ['400', { status: 400, body: { description: 'no' } }, { kind: 'state', state: 'failed', description: 'no' }],
    ['410', { status: 410, body: {} }, { kind: 'gone' }],
    ['an unknown state', { body: { state: 'thinking' } }, { kind: 'unknown' }],
    ['201', { status: 201, body: { state: 'succeeded' } }, { kind: 'unknown' }],
    ['202', { status: 202, body: { state: 'succeeded' } }, { kind: 'unknown' }],
    ['401', { status: 401, body: {} }, { kind: 'unknown' }],
    ['404', { status: 404, body: {} }, { kind: 'unknown' }],
    ['408', { status: 408, body: {} }, { kind: 'unknown' }],
    ['422', { status: 422, body: {} }, { kind: 'unknown' }],
    ['500', { status: 500, body: {} }, { kind: 'unknown' }],
    ['no JSON', { body: '<html>' }, { kind: 'unknown' }],
    ['no answer', { hang: true }, { kind: 'unknown' }],
    ['a broken connection', { breakOff: true }, { kind: 'unknown' }],
    ['10 MB', { padBytes: 10 * 1024 * 1024 }, { kind: 'unknown' }],
  ])('a poll answered by %s', async (_name, script, expected) => {
    broker.script('last-operation', { status: 200, ...script })
    expect(await client.lastOperation({ instanceGuid: 'i' }, PLAN, 'op')).toMatchObject(expected)
    expect(await client.lastOperation({ instanceGuid: 'i', bindingGuid: 'b' }, PLAN, 'op')).toMatchObject(expected)
  })

  const questions: Record<string, [ScriptedOperation, () => Promise<{ kind: string; reason?: FailureReason }>]> = {
    catalog: ['catalog', () => client.catalog()],
    instance: ['fetch-instance', () => client.fetchInstance('i', PLAN)],
    binding: ['fetch-binding', () => client.fetchBinding('i', 'b', PLAN)],
  }
  it.each<[string, Script, string]>([
    ['200', { status: 200, body: {} }, 'done'],
    ['201', { status: 201, body: {} }, 'bad-response'],
    ['202', { status: 202, body: {} }, 'bad-response'],
    ['401', { status: 401, body: {} }, 'unauthorized'],
    ['404', { status: 404, body: {} }, 'rejected'],
    ['408', { status: 408, body: {} }, 'timeout'],
    ['500', { status: 500, body: {} }, 'bad-response'],
    ['malformed', { status: 200, body: 'x' }, 'malformed'],
    ['no answer', { hang: true }, 'timeout'],
    ['a redirect elsewhere', { status: 302, headers: { location: 'http://127.0.0.2:1/v2/catalog' } }, 'redirect'],
    ['10 MB', { padBytes: 10 * 1024 * 1024 }, 'too-large'],
  ])('a question answered by %s', async (_name, script, expected) => {
    for (const [operation, askIt] of Object.values(questions)) {
      broker.script(operation, script)
      const answer = await askIt()
      expect(answer.kind === 'failed' ? answer.reason : answer.kind).toBe(expected)
    }
  })

  it('sends what every request must carry', async () => {
    await ask('provision', { userGuid: 'user-1', requestId: 'request-1' })
    await ask('deprovision')
    const [provision, deprovision] = broker.requests
    expect(provision?.headers).toMatchObject({
      'x-broker-api-version': '2.17',
      'x-vcap-request-id': 'request-1',
      'x-api-info-location': 'api.example.com/',
      accept: 'application/json',
      'content-type': 'application/json',
    })
    const identity = decodeIdentity(String(provision?.headers['x-broker-api-originating-identity']))
    expect(identity).toEqual({ platform: 'cloudfoundry', value: { user_id: 'user-1' } })
    expect(provision?.query.get('accepts_incomplete')).toBe('true')
    expect(provision?.body).toEqual(PROVISION)
    expect(deprovision?.headers['x-broker-api-originating-identity']).toBeUndefined()
    expect(Object.fromEntries(deprovision?.query ?? [])).toEqual({ accepts_incomplete: 'true', ...IDS })
    const identities = broker.requests.map(({ headers }) => headers['x-broker-api-request-identity'])
    expect(new Set(identities).size).toBe(2)
  })

  it('gives an operation back exactly, and encodes what is in an address', async () => {
    const operation = 'a b/c?d&e=ü"#'
    await client.lastOperation({ instanceGuid: 'i', bindingGuid: 'b/../c' }, PLAN, operation)
    expect(broker.requests.pop()?.bindingGuid).toBe('b%2F..%2Fc')
    await client.lastOperation({ instanceGuid: 'i' }, PLAN, operation)
    expect(broker.requests[0]?.query.get('operation')).toBe(operation)
    await client.lastOperation({ instanceGuid: 'i' }, PLAN, undefined)
    expect(broker.requests[1]?.query.has('operation')).toBe(false)
  })

  it('shows the words of the broker, and cuts what is endless', async () => {
    broker.script('provision', { status: 500, body: { description: 'disk is full' }, times: 1 })
    broker.script('provision', { status: 500, body: `x${'y'.repeat(20_000)}`, times: 1 })
    broker.script('provision', { status: 404, body: 'nothing', times: 1 })
    expect(await ask('provision')).toMatchObject({ message: 'Service broker error: disk is full' })
    const long = await ask('provision')
    expect(long.kind === 'failed' && long.message.length).toBeLessThan(9_000)
    expect(await ask('provision')).toMatchObject({
      message: 'The service broker rejected the request. Status Code: 404 Not Found, Body: nothing',
    })
  })

  it('follows redirects at the same origin, as the same request, and never shows its password elsewhere', async () => {
    const elsewhere: string[] = []
    const server = createServer((request, response) => {
      elsewhere.push(request.headers.authorization ?? '')
      response.end('{}')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const other = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/service_instances/i`
    broker.script('provision', { status: 307, headers: { location: '/v2/service_instances/j' }, does: false, times: 1 })
    expect(short(await ask('provision'))).toBe('done')
    expect([...broker.instances.keys()]).toEqual(['j'])
    broker.script('provision', { status: 307, headers: { location: other }, times: 1, does: false })
    expect(short(await ask('provision'))).toBe('redirect')
    broker.script('provision', { status: 302, headers: { location: '/v2/service_instances/j' }, does: false, times: 1 })
    expect(short(await ask('provision'))).toBe('redirect')
    broker.script('provision', { status: 307, headers: { location: '/v2/service_instances/i' }, does: false })
    expect(short(await ask('provision'))).toBe('redirect')
    expect(elsewhere).toEqual([])
    server.close()
  })

  it('tells a broker that is not there from one that may have heard', async () => {
    const nowhere = new BrokerClient(
      { url: 'http://127.0.0.1:1', username: 'u', password: 'p' },
      { connections, timeoutMs: TIMEOUT_MS },
    )
    expect(short(await nowhere.provision('i', PROVISION))).toBe('unreachable')
    const unnamed = new BrokerClient(
      { url: 'http://no-such-host.invalid', username: 'u', password: 'p' },
      { connections, timeoutMs: 5_000 },
    )
    expect(short(await unnamed.provision('i', PROVISION))).toBe('unreachable')
  })

  it('does not connect where its connector refuses to', async () => {
    const refusing = openBrokerConnections({
      connector: (_options, callback) =>
        callback(Object.assign(new Error('broker leads to an address that is loopback'), { code: 'EREFUSEDADDRESS' }), null),
    })
    const guarded = new BrokerClient(broker, { connections: refusing, timeoutMs: TIMEOUT_MS })
    expect(short(await guarded.provision('i', PROVISION))).toBe('forbidden-address')
    expect(broker.requests).toEqual([])
    await refusing.close()
  })

  it('holds no more of endless answers than it may', async () => {
    broker.script('fetch-instance', { padBytes: 64 * 1024 * 1024 })
    const patient = new BrokerClient(broker, { connections, timeoutMs: 20_000 })
    const before = process.memoryUsage().rss
    const answers = await Promise.all(Array.from({ length: 8 }, () => patient.fetchInstance('i', PLAN)))
    expect(answers.every((answer) => answer.kind === 'failed' && answer.reason === 'too-large')).toBe(true)
    expect(process.memoryUsage().rss - before).toBeLessThan(96 * 1024 * 1024)
  })

  it('lets go when it is called off', async () => {
    broker.script('provision', { hang: true })
    const off = new AbortController()
    const asked = ask('provision', { signal: off.signal })
    off.abort(new Error('lost'))
    await expect(asked).rejects.toThrow()
  })
})
