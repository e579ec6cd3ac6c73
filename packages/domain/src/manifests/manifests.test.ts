import fc from 'fast-check'
import { parseBytes, printBytes } from './byte-units.js'
import { diffManifest } from './diff-manifest.js'
import { matchRouteAddress } from './match-domain.js'
import { parseManifest } from './parse-manifest.js'

const parsed = (app: object) => parseManifest({ applications: [{ name: 'a', ...app }] })
const plain = {
  name: 'a',
  noRoute: false,
  randomRoute: false,
  defaultRoute: false,
  services: [],
  processes: [],
  sidecars: [],
  features: {},
}

describe('a manifest', () => {
  it.each<[string, object, object]>([
    ['of a name alone', {}, {}],
    ['with the client’s own keys', { path: '/x', 'cnb-credentials': {} }, {}],
    ['with buildpacks', { buildpacks: ['x', 'https://y.z/q'] }, { buildpacks: ['x', 'https://y.z/q'] }],
    ['with an older buildpack', { buildpack: 'x' }, { buildpacks: ['x'] }],
    ['that asks for detection', { buildpack: null }, { buildpacks: [] }],
    ['that asks for detection by default', { buildpacks: ['default'] }, { buildpacks: [] }],
    ['with a stack', { stack: 's' }, { stack: 's' }],
    [
      'with variables of any plain type',
      { env: { N: 1, T: true, S: 'x', E: null, O: { a: [1] } } },
      { env: { N: '1', T: 'true', S: 'x', E: '', O: '{"a":[1]}' } },
    ],
    [
      'whose values for the web process stand at the top',
      {
        memory: '1.5G',
        disk_quota: '512MB',
        instances: '2',
        'log-rate-limit-per-second': '16K',
        command: 'run',
        timeout: 60,
        'health-check-type': 'http',
        'health-check-http-endpoint': '/h',
        'readiness-health-check-type': 'port',
      },
      {
        processes: [
          {
            type: 'web',
            memoryMb: 1536,
            diskMb: 512,
            instances: 2,
            logRateLimit: 16_384,
            command: 'run',
            healthCheck: { type: 'http', endpoint: '/h', timeout: 60 },
            readinessHealthCheck: { type: 'port' },
          },
        ],
      },
    ],
    [
      'whose entry for the web process beats the top',
      {
        memory: '1G',
        processes: [
          { type: 'worker', instances: 0 },
          { type: 'web', 'disk-quota': '1G' },
        ],
      },
      {
        processes: [
          { type: 'web', diskMb: 1024 },
          { type: 'worker', instances: 0 },
        ],
      },
    ],
    ['that resets the command', { command: null }, { processes: [{ type: 'web', command: null }] }],
    ['without a log limit', { 'log-rate-limit-per-second': -1 }, { processes: [{ type: 'web', logRateLimit: -1 }] }],
    ['without any log', { 'log-rate-limit-per-second': '0' }, { processes: [{ type: 'web', logRateLimit: 0 }] }],
    ['with the older word for no check', { 'health-check-type': 'none' }, { processes: [{ healthCheck: { type: 'process' } }] }],
    [
      'with routes',
      {
        routes: [
          { route: 'https://a.b.c/p', protocol: 'http2' },
          { route: '*.b.c' },
          { route: 'x.y', options: { loadbalancing: 'least-connection' } },
        ],
      },
      {
        routes: [
          { route: 'a.b.c/p', protocol: 'http2' },
          { route: '*.b.c' },
          { route: 'x.y', options: { loadbalancing: 'least-connection' } },
        ],
      },
    ],
    ['with a default route beside routes', { 'default-route': true, routes: [] }, { defaultRoute: true, routes: [] }],
    [
      'with services',
      { services: ['db', { name: 'q', binding_name: 'b', parameters: { a: 1 } }] },
      { services: [{ name: 'db' }, { name: 'q', bindingName: 'b', parameters: { a: 1 } }] },
    ],
    ['with metadata', { metadata: { labels: { a: null, b: 1 } } }, { metadata: { labels: { a: null, b: '1' } } }],
    ['with features', { features: { ssh: false } }, { features: { ssh: false } }],
    ['with sidecars', { sidecars: [{ name: 's', command: 'x', process_types: ['web'] }] }, { sidecars: ['s'] }],
  ])('%s is read', (_name, app, expected) => {
    expect(parsed(app)).toMatchObject({ faults: [], apps: [{ ...plain, ...expected }] })
  })

  it.each<[string, object, RegExp]>([
    ['no name', { name: '' }, /Name must not be empty/],
    ['a name that is too long', { name: 'x'.repeat(256) }, /Name is too long/],
    ['memory that is no number', { memory: 'lots' }, /Memory is not a number/],
    ['memory without a unit', { memory: 5 }, /Memory must use a supported unit/],
    ['no memory', { memory: '0M' }, /Memory must be/],
    ['negative instances', { instances: -1 }, /Instances must be greater than or equal to 0/],
    ['half an instance', { instances: 1.5 }, /Instances/],
    ['both kinds of buildpacks', { buildpack: 'x', buildpacks: ['y'] }, /cannot be used together/],
    ['docker', { docker: { image: 'x' } }, /Docker images cannot be run/],
    ['another lifecycle', { lifecycle: 'cnb' }, /'cnb' is not available/],
    ['a check that is none', { 'health-check-type': 'smoke' }, /Health check type must be/],
    ['an endpoint for a port', { 'health-check-type': 'port', 'health-check-http-endpoint': '/x' }, /type must be "http"/],
    ['a start that takes for ever', { timeout: 1000 }, /Timeout must be at most/],
    ['routes that are no list', { routes: 'x.y' }, /Routes must be a list/],
    ['a route that is none', { routes: [{ route: 'not a route' }] }, /not a properly formed URL/],
    ['routes and none', { routes: [{ route: 'x.y' }], 'no-route': true }, /no-route: true, routes/],
    ['a random route and none', { 'random-route': true, 'no-route': true }, /no-route: true, random-route/],
    ['variables of the platform', { env: { VCAP_SERVICES: 'x' } }, /Env cannot start with VCAP_/],
    ['a process without a type', { processes: [{ memory: '1G' }] }, /All Processes must specify a type/],
    ['a process twice', { processes: [{ type: 'web' }, { type: 'web' }] }, /may only be present once/],
    ['services that are no list', { services: 'db' }, /Services must be a list of service instances/],
    ['a service without a name', { services: [{}] }, /Services must be a list of service instances/],
    ['a service of another kind', { services: [7] }, /Services must be a list of service instances/],
    ['a service with parameters that are none', { services: [{ name: 'db', parameters: 'x' }] }, /parameters \(an object\)/],
    ['a service with a binding name that is none', { services: [{ name: 'db', binding_name: 7 }] }, /binding_name \(a string\)/],
    [
      'a service with a misspelt key',
      { services: [{ name: 'db', parameter: {} }] },
      /Services must be a list of service instances/,
    ],
    ['an unknown feature', { features: { x: true } }, /unsupported features: x/],
    ['a word for a flag', { 'no-route': 'perhaps' }, /No-route must be a boolean/],
  ])('with %s is refused', (_name, app, reason) => {
    const { faults } = parsed(app)
    expect(faults).toEqual(expect.arrayContaining([expect.stringMatching(reason)]))
    expect(faults.every((fault) => fault.startsWith('For application '))).toBe(true)
  })

  it('is told all its faults at once', () => {
    const { faults } = parseManifest({
      applications: [{ name: 'a', memory: 'x', instances: -1 }, { name: 'b', routes: 1 }, { name: 'c' }, { name: 'c' }],
    })
    expect(faults).toHaveLength(4)
  })

  it.each([
    undefined,
    null,
    'text',
    [],
    {},
    { applications: [] },
    { applications: 'x' },
    { version: 2, applications: [{ name: 'a' }] },
  ])('that is %j is refused', (document) => {
    expect(parseManifest(document).faults).toHaveLength(1)
  })

  it('never makes the reader fall, whatever stands in it', () =>
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (value, other) => {
        const keys = [
          'memory',
          'routes',
          'env',
          'services',
          'processes',
          'metadata',
          'features',
          'command',
          'buildpacks',
          'sidecars',
        ]
        for (const key of keys) parsed({ [key]: value, timeout: other })
        parseManifest(value)
      }),
    ))
})

describe('sizes', () => {
  it.each<[unknown, number | string]>([
    ['1K', 1024],
    ['1kb', 1024],
    ['1.5G', 1.5 * 1024 ** 3],
    ['2TB', 2 * 1024 ** 4],
    [' 10 M ', 10 * 1024 ** 2],
    ['5B', 5],
    ['5', 'must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB'],
    ['5X', 'must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB'],
    ['M', 'is not a number'],
    [{}, 'is not a number'],
  ])('%j', (text, expected) => {
    expect(Object.values(parseBytes(text))).toEqual([expected])
  })
  it('print as what is read back the same', () =>
    fc.assert(fc.property(fc.nat({ max: 2 ** 52 }), (bytes) => expect(parseBytes(printBytes(bytes))).toEqual({ bytes }))))
})

describe('addresses of routes', () => {
  const domains = ['b.c', 'a.b.c', 'c.d'].map((name) => ({ name }))
  it.each<[string, object | undefined]>([
    ['x.b.c', { domain: { name: 'b.c' }, host: 'x', path: '' }],
    ['x.a.b.c/p/q', { domain: { name: 'a.b.c' }, host: 'x', path: '/p/q' }],
    ['a.b.c', { domain: { name: 'a.b.c' }, host: '' }],
    ['*.b.c', { domain: { name: 'b.c' }, host: '*' }],
    ['X.B.C/', { domain: { name: 'b.c' }, host: 'x', path: '' }],
    ['c.d:1234', { domain: { name: 'c.d' }, host: '', port: 1234 }],
    ['xb.c', undefined],
    ['nowhere', undefined],
  ])('%s', (address, expected) => {
    const found = matchRouteAddress(address, domains)
    if (expected) expect(found).toMatchObject(expected)
    else expect(found).toBeUndefined()
  })
})

describe('what applying would change', () => {
  const present = {
    name: 'a',
    memory: '1024M',
    disk_quota: '512M',
    instances: 2,
    command: 'run',
    stack: 's',
    buildpacks: ['x'],
    env: { A: '1', B: '2' },
    routes: [{ route: 'a.b', protocol: 'http1' }],
    'health-check-type': 'port',
    'log-rate-limit-per-second': -1,
    processes: [
      { type: 'web', memory: '1024M', instances: 2 },
      { type: 'worker', memory: '64M', instances: 0 },
    ],
  }
  it.each<[string, object, object[]]>([
    ['nothing for what is so already', { memory: '1G', 'disk-quota': '512M', instances: '2', stack: 's', env: { A: 1 } }, []],
    ['nothing for what is not named', {}, []],
    ['nothing for the client’s own keys', { path: '/x', 'default-route': true }, []],
    ['a size', { memory: '2G' }, [{ op: 'replace', path: '/applications/0/memory', was: '1024M', value: '2048M' }]],
    ['a new variable', { env: { C: 'x' } }, [{ op: 'add', path: '/applications/0/env/C', value: 'x' }]],
    ['a variable', { env: { A: '9' } }, [{ op: 'replace', path: '/applications/0/env/A', was: '1', value: '9' }]],
    ['a command that goes', { command: null }, [{ op: 'replace', path: '/applications/0/command', was: 'run', value: null }]],
    [
      'a route',
      { routes: [{ route: 'a.b' }, { route: 'c.d' }] },
      [{ op: 'add', path: '/applications/0/routes/1', value: { route: 'c.d' } }],
    ],
    ['all routes', { 'no-route': true }, [{ op: 'add', path: '/applications/0/no-route', value: true }]],
    [
      'buildpacks in their order',
      { buildpacks: ['y'] },
      [{ op: 'replace', path: '/applications/0/buildpacks/0', was: 'x', value: 'y' }],
    ],
    ['fewer buildpacks', { buildpacks: [] }, [{ op: 'replace', path: '/applications/0/buildpacks', was: ['x'], value: [] }]],
    [
      'one process of several',
      { processes: [{ type: 'worker', instances: 3 }] },
      [{ op: 'replace', path: '/applications/0/processes/0/instances', was: 0, value: 3 }],
    ],
    [
      'a new process',
      { processes: [{ type: 'clock', instances: 1 }] },
      [{ op: 'add', path: '/applications/0/processes/0', value: { type: 'clock', instances: 1 } }],
    ],
    [
      'a log limit',
      { 'log-rate-limit-per-second': '1K' },
      [{ op: 'replace', path: '/applications/0/log-rate-limit-per-second', was: -1, value: '1K' }],
    ],
  ])('is %s', (_name, sent, expected) => {
    expect(diffManifest([{ name: 'a', ...sent }], [present])).toEqual(expected)
  })

  it('is everything for an app that is not there yet', () => {
    expect(diffManifest([{ name: 'a', memory: '1G', 'random-route': true }], [undefined])).toEqual([
      { op: 'add', path: '/applications/0/memory', value: '1024M' },
      { op: 'add', path: '/applications/0/random-route', value: true },
    ])
  })
})
