import { bindingFiles, type BindingDelivery } from './binding-files.js'
import { runningEnvironment, stagingEnvironment } from './environments.js'
import { MAX_VARIABLE_BYTES, mergeVariables, variableFaults } from './variable-rules.js'
import type { AppIdentity } from './vcap-application.js'
import { databaseUrl, vcapServices, type BoundService } from './vcap-services.js'

const app: AppIdentity = {
  cfApi: 'http://api.x',
  guid: 'app-1',
  name: 'shop',
  spaceGuid: 's',
  spaceName: 'dev',
  organizationGuid: 'o',
  organizationName: 'org',
  uris: ['shop.x'],
}
const bound = (over: Partial<BoundService> = {}): BoundService => ({
  label: 'user-provided',
  plan: null,
  tags: [],
  instanceGuid: 'i1',
  instanceName: 'db',
  bindingGuid: 'b1',
  bindingName: null,
  credentials: {},
  syslogDrainUrl: null,
  volumeMounts: [],
  createdAt: new Date(0),
  ...over,
})
const sources = {
  app,
  group: { A: 'group', G: 'group' },
  appVariables: { A: 'app' },
  bindings: [] as BoundService[],
  delivery: 'variable' as BindingDelivery,
}
const running = { guid: 'p', type: 'web', version: 'v', memoryMb: 64, diskMb: 128 }

describe('environments', () => {
  it('let an app’s own variables win over its group, and the platform over both', () => {
    const environment = runningEnvironment({ ...sources, appVariables: { A: 'app', MEMORY_LIMIT: '1t' } }, running)
    expect(environment).toMatchObject({ A: 'app', G: 'group', MEMORY_LIMIT: '64m', VCAP_SERVICES: '{}' })
    expect(environment).not.toHaveProperty('PORT')
  })
  it('tell the app who it is, in one line', () => {
    const text = runningEnvironment(sources, running)['VCAP_APPLICATION'] ?? ''
    expect(text).not.toMatch(/\s/)
    expect(JSON.parse(text)).toEqual({
      cf_api: 'http://api.x',
      limits: { fds: 16_384, mem: 64, disk: 128 },
      application_name: 'shop',
      application_uris: ['shop.x'],
      name: 'shop',
      space_name: 'dev',
      space_id: 's',
      organization_id: 'o',
      organization_name: 'org',
      uris: ['shop.x'],
      process_id: 'p',
      process_type: 'web',
      application_id: 'app-1',
      version: 'v',
      application_version: 'v',
    })
  })
  it('of staging name the stack', () => {
    const staging = stagingEnvironment(sources, { version: 'v', stack: 'st', memoryMb: 1024, diskMb: 4096 })
    expect(staging).toMatchObject({ CF_STACK: 'st', MEMORY_LIMIT: '1024m', A: 'app' })
  })
})

describe('bound services', () => {
  it('stand by label in order of age, each instance once, under its binding’s name', () => {
    const services = vcapServices([
      bound({
        bindingGuid: 'b3',
        createdAt: new Date(3),
        instanceGuid: 'i2',
        instanceName: 'queue',
        bindingName: 'q',
        tags: ['a', 'a'],
      }),
      bound({ bindingGuid: 'b1', createdAt: new Date(1), credentials: { old: true } }),
      bound({ bindingGuid: 'b2', createdAt: new Date(2), credentials: { old: false } }),
    ])
    expect(services).toMatchObject({
      'user-provided': [
        { name: 'db', credentials: { old: false }, binding_name: null },
        { name: 'q', instance_name: 'queue', binding_name: 'q', tags: ['a'] },
      ],
    })
    expect(services['user-provided']?.[0]).not.toHaveProperty('plan')
  })
  it.each([
    ['mysql://u:p@h/d', 'mysql2://u:p@h/d'],
    ['postgresql://h/d', 'postgres://h/d'],
    ['POSTGRES://h/d', 'postgres://h/d'],
    ['http://h/d', undefined],
    [5, undefined],
  ])('give %s as DATABASE_URL %s', (uri, expected) => expect(databaseUrl([bound({ credentials: { uri } })])).toBe(expected))
})

describe('bindings as files', () => {
  const db = bound({
    bindingName: 'main',
    label: 'mysql',
    plan: 'small',
    tags: ['a'],
    credentials: { uri: 'mysql://h/d', port: 3306, label: 'mine', nothing: null, none: {}, nested: { a: [1] } },
  })
  it('are one with the content of VCAP_SERVICES', () => {
    expect(bindingFiles([db], 'file')).toEqual({ vcap_services: JSON.stringify(vcapServices([db])) })
    const environment = runningEnvironment({ ...sources, bindings: [db], delivery: 'file' }, running)
    expect(environment).toMatchObject({
      VCAP_SERVICES_FILE_PATH: '/etc/cf-service-bindings/vcap_services',
      DATABASE_URL: 'mysql2://h/d',
    })
    expect(environment).not.toHaveProperty('VCAP_SERVICES')
  })
  it('are a folder per binding, a file per key, and what the platform knows', () => {
    expect(bindingFiles([db], 'folders')).toEqual({
      'main/uri': 'mysql://h/d',
      'main/port': '3306',
      'main/nested': '{"a":[1]}',
      'main/label': 'mysql',
      'main/plan': 'small',
      'main/name': 'main',
      'main/tags': '["a"]',
      'main/instance_guid': 'i1',
      'main/instance_name': 'db',
      'main/binding_guid': 'b1',
      'main/binding_name': 'main',
      'main/type': 'mysql',
      'main/provider': 'mysql',
    })
    expect(runningEnvironment({ ...sources, bindings: [db], delivery: 'folders' }, running)).toMatchObject({
      SERVICE_BINDING_ROOT: '/etc/cf-service-bindings',
    })
    expect(bindingFiles([db], 'variable')).toBeUndefined()
  })
  it.each<[string, BoundService[], RegExp]>([
    ['a name that is no folder', [bound({ instanceName: 'My DB' })], /^Invalid binding name: 'My DB'/],
    ['two of one name', [bound({}), bound({ instanceGuid: 'i2', bindingGuid: 'b2' })], /^Duplicate binding name: db/],
    ['a key that is no file', [bound({ credentials: { 'a/../b': 'x' } })], /^Invalid file name: a\/\.\.\/b/],
    ['a key that leads out', [bound({ credentials: { UPPER: 'x' } })], /^Invalid file name: UPPER/],
    ['a key that is every folder’s parent', [bound({ credentials: { '..': 'x' } })], /^Invalid file name: \.\./],
    ['too much', [bound({ credentials: { big: 'ö'.repeat(500_000) } })], /exceed the maximum allowed bytesize of 1000000/],
  ])('cannot be made of %s', (_what, bindings, reason) => expect(bindingFiles(bindings, 'folders')).toMatch(reason))
})

describe('variables', () => {
  it.each<[Record<string, unknown>, RegExp | undefined]>([
    [{ A: '1', B: null }, undefined],
    [{ '': 'x' }, /minimum length of 1/],
    [{ vcap_x: 'x' }, /cannot start with VCAP_/],
    [{ VMC_X: 'x' }, /cannot start with VMC_/],
    [{ port: 'x' }, /cannot set PORT/],
    [{ 'A=B': 'x' }, /must not contain '='/],
    [{ A: 1 }, /Non-string value in environment variable for key 'A', value '1'/],
    [{ A: '\0' }, /zero byte/],
    [{ A: 'x'.repeat(MAX_VARIABLE_BYTES + 1) }, /longer than/],
  ])('are judged: %#', (variables, reason) => {
    expect(variableFaults(variables)).toEqual(reason ? [expect.stringMatching(reason)] : [])
  })
  it('are merged, and deleted by null', () =>
    expect(mergeVariables({ A: '1', B: '2' }, { A: null, C: '' })).toEqual({ B: '2', C: '' }))
})
