import fc from 'fast-check'
import { parse } from 'yaml'
import { interpolate } from './manifest-variables.js'
import { type Manifest, type ManifestFlags, mergeFlags, parseManifest, renderManifest } from './manifest.js'

const one = (app: Record<string, unknown>): Manifest => ({ applications: [app] })

describe('merging a push’s flags into a manifest', () => {
  it.each<[string, Manifest | undefined, ManifestFlags, Record<string, unknown>]>([
    ['makes up a manifest for a name alone', undefined, { name: 'a' }, { name: 'a', 'default-route': true }],
    [
      'names the only app anew',
      one({ name: 'a', memory: '1G' }),
      { name: 'b' },
      { name: 'b', memory: '1G', 'default-route': true },
    ],
    [
      'lays every flag over the app',
      one({ name: 'a', 'health-check-type': 'port', memory: '1G' }),
      {
        path: '/src',
        memory: '64M',
        disk: '1G',
        instances: 2,
        logRate: '1K',
        timeout: 60,
        stack: 'st',
        healthCheckType: 'http',
        healthCheckEndpoint: '/h',
      },
      {
        name: 'a',
        path: '/src',
        memory: '64M',
        'disk-quota': '1G',
        instances: 2,
        'log-rate-limit-per-second': '1K',
        timeout: 60,
        stack: 'st',
        'health-check-type': 'http',
        'health-check-http-endpoint': '/h',
        'default-route': true,
      },
    ],
    [
      'gives what concerns the web process to its entry',
      one({ name: 'a', processes: [{ type: 'web', memory: '1G' }, { type: 'worker' }] }),
      { memory: '64M', disk: '1G', command: 'run' },
      {
        name: 'a',
        processes: [{ type: 'web', memory: '64M', disk_quota: '1G', command: 'run' }, { type: 'worker' }],
        'default-route': true,
      },
    ],
    [
      'drops the endpoint of a check that is no longer http',
      one({ name: 'a', 'health-check-http-endpoint': '/h' }),
      { healthCheckType: 'process' },
      { name: 'a', 'health-check-type': 'process', 'default-route': true },
    ],
    [
      'resets buildpacks',
      one({ name: 'a', buildpack: 'old' }),
      { buildpacks: ['null'] },
      { name: 'a', buildpacks: [], 'default-route': true },
    ],
    ['resets the command', undefined, { name: 'a', command: 'null' }, { name: 'a', command: null, 'default-route': true }],
    [
      'takes several buildpacks',
      undefined,
      { name: 'a', buildpacks: ['x', 'y'] },
      { name: 'a', buildpacks: ['x', 'y'], 'default-route': true },
    ],
    [
      'removes routes',
      one({ name: 'a', routes: [{ route: 'x.y' }], 'random-route': true }),
      { noRoute: true },
      { name: 'a', 'no-route': true },
    ],
    ['asks for a random route', undefined, { name: 'a', randomRoute: true }, { name: 'a', 'random-route': true }],
    [
      'asks for a default route beside routes, as cf does',
      one({ name: 'a', routes: [] }),
      {},
      { name: 'a', routes: [], 'default-route': true },
    ],
    ['leaves a random route of the manifest', one({ name: 'a', 'random-route': true }), {}, { name: 'a', 'random-route': true }],
  ])('%s', (_name, manifest, flags, expected) => {
    expect(mergeFlags(manifest, flags).applications).toStrictEqual([expected])
  })

  it('chooses one app of several, and refuses flags for all', () => {
    const two: Manifest = { applications: [{ name: 'a' }, { name: 'b' }] }
    expect(mergeFlags(two, { name: 'b' }).applications).toEqual([{ name: 'b', 'default-route': true }])
    expect(mergeFlags(two, {}).applications).toHaveLength(2)
    expect(() => mergeFlags(two, { name: 'c' })).toThrow("no app named 'c'; it has a, b")
    expect(() => mergeFlags(two, { memory: '1G' })).toThrow('memory')
    expect(() => mergeFlags(one({}), {})).toThrow('has no name')
    expect(() => mergeFlags({ applications: [{ name: 'a' }, { name: 'a' }] }, {})).toThrow('same name')
    expect(() => mergeFlags(undefined, {})).toThrow('Name the app')
  })

  it('leaves what it was given untouched', () => {
    const manifest = one({ name: 'a', processes: [{ type: 'web' }] })
    mergeFlags(manifest, { memory: '64M' })
    expect(manifest).toEqual(one({ name: 'a', processes: [{ type: 'web' }] }))
  })
})

describe('parsing a manifest', () => {
  it('expands anchors and merges, and prints what reads back the same', () => {
    const manifest = parseManifest(
      'x: &d\n  memory: 64M\napplications:\n- <<: *d\n  name: a\n- <<: *d\n  name: b\n  memory: 1G\n',
    )
    expect(manifest.applications).toEqual([
      { memory: '64M', name: 'a' },
      { memory: '1G', name: 'b' },
    ])
    expect(parse(renderManifest(manifest))).toEqual(manifest)
    expect(renderManifest(manifest)).not.toContain('&')
  })

  it.each([
    ['no YAML', 'applications: [', 'not valid YAML'],
    ['no apps', 'applications: []', 'at least one app'],
    ['not a map', '- a', "a list 'applications'"],
    ['an app that is no map', 'applications: [x]', 'must be a map'],
  ])('refuses %s', (_name, text, message) => expect(() => parseManifest(text)).toThrow(message))

  it('keeps every digit of a number that JavaScript cannot hold', () => {
    const { applications } = parseManifest('applications:\n- name: a\n  env: { ACCOUNT: 123456789012345678901, SMALL: 42 }\n')
    expect(applications).toEqual([{ name: 'a', env: { ACCOUNT: '123456789012345678901', SMALL: 42 } }])
  })

  it('refuses a bomb of aliases', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(',')}]`)
    expect(() => parseManifest(`a0: &a0 [x]\n${levels.join('\n')}\napplications: *a9`)).toThrow()
  })
})

describe('variables', () => {
  it('fills in texts, keys and whole values of any type', () => {
    const value = { '((k))': 'a-((n))-((b))', count: '((n))', list: ['((list))'], deep: '((db.host))' }
    expect(interpolate(value, { k: 'key', n: 3, b: true, list: [1, 2], db: { host: 'h' } })).toEqual({
      key: 'a-3-true',
      count: 3,
      list: [[1, 2]],
      deep: 'h',
    })
  })
  it('names all that are missing', () => {
    expect(() => interpolate(['((b))', 'x((a))'], {})).toThrow('Expected to find variables: a, b')
  })
  it('refuses a list inside a text', () => expect(() => interpolate('x((l))', { l: [1] })).toThrow('must be a text'))
  it('leaves what holds no placeholder as it is', () =>
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!JSON.stringify(value).includes('((') && !JSON.stringify(value).includes('__proto__'))
        expect(interpolate(value, {})).toEqual(value)
      }),
    ))
})
