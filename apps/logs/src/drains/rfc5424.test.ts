import { describe, expect, it } from '@jest/globals'
import { parseDrainUrl } from './drain-options.js'
import { formatLine, formatMetrics, octetCounted } from './rfc5424.js'

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

describe('addresses of drains', () => {
  const options = (url: string) => {
    const parsed = parseDrainUrl(new URL(url))
    if (typeof parsed === 'string') throw new Error(parsed)
    return parsed
  }
  it.each([
    ['syslog://h:514', true, false],
    ['syslog://h:514?drain-type=logs', true, false],
    ['syslog://h:514?drain-type=metrics', false, true],
    ['syslog-tls://h:6514/?drain-data=all', true, true],
    ['https://h/x?drain-type=traces', false, false],
  ])('%s: logs %s, metrics %s', (url, logs, metrics) => expect(options(url)).toMatchObject({ logs, metrics }))
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
