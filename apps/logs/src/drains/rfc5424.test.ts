import { describe, expect, it } from '@jest/globals'
import { parseDrainUrl } from './drain-options.js'
import { parseRequestTimer } from './request-timer.js'
import { formatLine, formatMetrics, formatTimer, octetCounted } from './rfc5424.js'

const app = {
  appGuid: 'aaaaaaaa-0000-4000-8000-000000000001',
  appName: 'my app!',
  spaceGuid: 's',
  spaceName: 'dev',
  organizationGuid: 'o',
  organizationName: 'bloomery',
}
const line = {
  instanceId: '0',
  sourceType: 'APP/PROC/WEB',
  stream: 'OUT' as const,
  text: 'hello\0 wörld',
  timestamp: 1_800_000_000_123_400_000n,
}

describe('messages of drains', () => {
  it("are those of Cloud Foundry's syslog agent", () =>
    expect(formatLine(app, { ...line, tags: { process_type: 'w"e\\b]' } }, true).toString()).toBe(
      '<14>1 2027-01-15T08:00:00.1234+00:00 bloomery.dev.my-app aaaaaaaa-0000-4000-8000-000000000001 [APP/PROC/WEB/0] - ' +
        '[tags@47450 app_id="aaaaaaaa-0000-4000-8000-000000000001" app_name="my app!" instance_id="0" organization_id="o" ' +
        'organization_name="bloomery" process_type="w\\"e\\\\b\\]" source_type="APP/PROC/WEB" space_id="s" space_name="dev"] hello wörld\n',
    ))
  it('of errors bear another priority; structured data can be left out', () =>
    expect(formatLine(app, { ...line, stream: 'ERR', timestamp: 1_800_000_000_000_000_000n }, false).toString()).toBe(
      '<11>1 2027-01-15T08:00:00+00:00 bloomery.dev.my-app aaaaaaaa-0000-4000-8000-000000000001 [APP/PROC/WEB/0] - - hello wörld\n',
    ))
  it('count octets, not characters', () => expect(octetCounted(Buffer.from('ö\n')).toString()).toBe('3 ö\n'))
  it('of metrics are one gauge each', () => {
    const messages = formatMetrics(
      app,
      {
        kind: 'metrics',
        sourceId: app.appGuid,
        processGuid: 'p',
        processType: 'web',
        instanceId: '2',
        instanceGuid: 'i',
        timestamp: '1800000000000000000',
        cpu: 0.5,
        cpuEntitlement: 1,
        memoryBytes: 1024,
        memoryQuotaBytes: 2048,
        diskBytes: 1,
        diskQuotaBytes: 2,
        logRateBytes: 3,
        logRateLimitBytes: -1,
      },
      false,
    ).map(String)
    expect(messages).toHaveLength(8)
    expect(messages[0]).toBe(
      `<14>1 2027-01-15T08:00:00+00:00 bloomery.dev.my-app ${app.appGuid} [2] - [gauge@47450 name="cpu" value="50" unit="percentage"] \n`,
    )
  })
})

describe('requests as timers', () => {
  const accessLine =
    'shop.test - [2026-11-21T12:00:00.123456000Z] "GET /a?b=c HTTP/1.1" 200 0 13 "-" "cu\\"rl/8" "127.0.0.1:5000" "10.0.0.2:8080" ' +
    'x_forwarded_for:"10.1.1.1, 127.0.0.1" x_forwarded_proto:"https" vcap_request_id:"id" response_time:1.010000 gorouter_time:0.002500 ' +
    'app_id:"app" app_index:"3" instance_id:"instance" x_cf_routererror:"-"'

  it('are read from what the router says of them', () =>
    expect(parseRequestTimer(accessLine)).toEqual({
      start: 1_795_262_400_123_456_000n,
      stop: 1_795_262_401_133_456_000n,
      instanceId: '3',
      tags: {
        content_length: '13',
        forwarded: '10.1.1.1\n127.0.0.1',
        method: 'GET',
        peer_type: 'Server',
        remote_address: '127.0.0.1:5000',
        request_id: 'id',
        routing_instance_id: 'instance',
        status_code: '200',
        uri: 'https://shop.test/a',
        user_agent: 'cu"rl/8',
      },
    }))

  it('tell of one that no instance answered', () =>
    expect(
      parseRequestTimer(
        accessLine.replace('" 200 0', '" "-" 0').replace('app_index:"3" instance_id:"instance"', 'app_index:"-" instance_id:"-"'),
      ),
    ).toMatchObject({ instanceId: '', tags: { status_code: '0', routing_instance_id: '' } }))

  it.each([
    '',
    'Registered the route',
    accessLine.slice(0, 200),
    'x'.repeat(60_000),
    '"'.repeat(60_000),
    `${'\\'.repeat(60_000)}"`,
  ])('are not made of other lines, and quickly so (%#)', (text) => {
    const began = performance.now()
    expect(parseRequestTimer(text)).toBeUndefined()
    expect(performance.now() - began).toBeLessThan(200)
  })

  it("are written as Cloud Foundry's syslog agent writes them", () => {
    const timer = {
      start: 1_800_000_000_000_000_000n,
      stop: 1_800_000_000_500_000_000n,
      instanceId: '3',
      tags: { method: 'GET' },
    }
    const head = `<14>1 2027-01-15T08:00:00.5+00:00 bloomery.dev.my-app ${app.appGuid} [3] - [timer@47450 name="http" start="1800000000000000000" stop="1800000000500000000"]`
    expect(String(formatTimer(app, timer, false))).toBe(`${head} \n`)
    expect(String(formatTimer(app, timer, true))).toMatch(
      /stop="1800000000500000000"\]\[tags@47450 app_id=".*instance_id="3" method="GET" .*\] \n$/,
    )
  })
})

describe('addresses of drains', () => {
  const options = (url: string) => {
    const parsed = parseDrainUrl(new URL(url))
    if (typeof parsed === 'string') throw new Error(parsed)
    return parsed
  }
  it.each([
    ['syslog://h:514', true, false, false],
    ['syslog://h:514?drain-type=logs', true, false, false],
    ['syslog://h:514?drain-type=metrics', false, true, false],
    ['syslog://h:514?drain-type=all', true, true, false],
    ['syslog://h:514?drain-type=nonsense', true, false, false],
    ['syslog-tls://h:6514/?drain-data=all', true, true, true],
    ['syslog://h:514?include-metrics-deprecated=true', true, true, true],
    ['https://h/x?drain-data=traces', false, false, true],
    ['https://h/x?drain-type=traces', false, false, true],
    ['https://h/x?drain-type=metrics&drain-data=logs', true, false, false],
  ])('%s: logs %s, metrics %s, traces %s', (url, logs, metrics, traces) =>
    expect(options(url)).toMatchObject({ logs, metrics, traces }),
  )
  it.each([
    ['syslog://h?include-log-types=app,STG', ['APP/PROC/WEB', 'STG', 'NEW'], ['RTR', 'API']],
    ['syslog://h?exclude-log-types=rtr', ['APP', 'STG', 'NEW'], ['RTR', 'RTR/1']],
  ])('%s takes %s and leaves %s', (url, takes, leaves) => {
    const { takesSource } = options(url)
    expect(takes.map(takesSource)).toEqual(takes.map(() => true))
    expect(leaves.map(takesSource)).toEqual(leaves.map(() => false))
  })
  it.each(['http://h', 'udp://h:1', 'syslog://?x', 'syslog://h?include-log-types=a&exclude-log-types=b'])(
    '%s is refused',
    (url) => {
      const parsed = URL.canParse(url) ? parseDrainUrl(new URL(url)) : 'no address'
      expect(typeof parsed).toBe('string')
    },
  )
})
