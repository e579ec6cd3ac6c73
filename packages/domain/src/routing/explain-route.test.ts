import { describe, expect, it } from '@jest/globals'
import { explainRoute, hostCandidates, parseRequestAddress, type ExplainedDestination } from './explain-route.js'

describe('parseRequestAddress', () => {
  it.each([
    ['App.example.com', { host: 'app.example.com', port: undefined, path: '' }],
    ['https://app.example.com:8443/a/b?c=d', { host: 'app.example.com', port: 8443, path: '/a/b' }],
    ['tcp.example.com:20001', { host: 'tcp.example.com', port: 20_001, path: '' }],
    ['app.example.com.', { host: 'app.example.com', port: undefined, path: '' }],
    ['', undefined],
    ['a b', undefined],
    ['app:99999', undefined],
  ])('%s', (text, expected) => expect(parseRequestAddress(text)).toEqual(expected))
})

it('hostCandidates names the nearest wildcard first', () => expect(hostCandidates('a.b.c')).toEqual(['a.b.c', '*.b.c', '*.c']))

describe('explainRoute', () => {
  const instance = (over: object = {}) => ({
    appGuid: 'a',
    processType: 'web',
    index: 0,
    state: 'running',
    routable: true,
    ...over,
  })
  const destination = (over: Partial<ExplainedDestination> = {}): ExplainedDestination => ({
    appGuid: 'a',
    appName: 'shop',
    appState: 'STARTED',
    processType: 'web',
    wantedInstances: 1,
    instances: [instance()],
    ...over,
  })
  const route = { url: 'shop.test', routeServiceUrl: undefined }
  it.each([
    ['no-route', undefined, [], 404, /No route stands for x\.test/],
    ['no-destination', route, [], 404, /leads to no app/],
    ['served', route, [destination()], undefined, /leads to 1 instance of shop\./],
    [
      'route-service',
      { ...route, routeServiceUrl: 'https://rs.test' },
      [destination()],
      undefined,
      /route service at https:\/\/rs\.test first/,
    ],
    ['stopped', route, [destination({ appState: 'STOPPED', wantedInstances: 0, instances: [] })], 404, /which is stopped/],
    ['no-instance', route, [destination({ instances: [instance({ state: 'crashed', routable: false })] })], 503, /\(0 crashed\)/],
    ['no-instance', route, [destination({ instances: [instance({ routable: false })] })], 503, /no instance takes requests/],
    ['no-instance', route, [destination({ wantedInstances: 0, instances: [] })], 404, /no instance takes requests/],
  ] as const)('%s', (outcome, known, destinations, status, sentence) => {
    const verdict = explainRoute('x.test', known, destinations)
    expect(verdict).toMatchObject({ outcome, status })
    expect(verdict.sentence).toMatch(sentence)
    expect(verdict.nextStep === undefined).toBe(status === undefined)
  })
})
