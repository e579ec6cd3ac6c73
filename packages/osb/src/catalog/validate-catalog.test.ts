import { describe, expect, it } from '@jest/globals'
import { parameterProblems, schemaProblems } from './parameter-schemas.js'
import { validateCatalog } from './validate-catalog.js'

const plan = (change: object = {}) => ({ id: 'p1', name: 'small', description: 'A small one', ...change })
const service = (change: object = {}) => ({
  id: 's1',
  name: 'db',
  description: 'A database',
  bindable: true,
  plans: [plan()],
  ...change,
})
const DRAFT = 'http://json-schema.org/draft-04/schema#'
const withSchema = (schema: object) =>
  service({ plans: [plan({ schemas: { service_instance: { create: { parameters: schema } } } })] })

describe('validateCatalog', () => {
  it('takes the least and the most that the specification knows', () => {
    const most = service({
      tags: ['sql'],
      requires: ['syslog_drain', 'route_forwarding', 'volume_mount'],
      metadata: { displayName: 'DB', shareable: true, costs: null },
      plan_updateable: true,
      instances_retrievable: true,
      bindings_retrievable: true,
      allow_context_updates: true,
      dashboard_client: { id: 'd', secret: 's', redirect_uri: 'http://d' },
      future_field: 1,
      plans: [
        plan({
          free: false,
          bindable: false,
          plan_updateable: false,
          metadata: {},
          maximum_polling_duration: 60,
          maintenance_info: { version: '2.1.1+abcdef', description: 'a patch' },
          binding_rotatable: true,
          schemas: {
            service_instance: { create: { parameters: { $schema: DRAFT, type: 'object' } }, update: {} },
            service_binding: null,
          },
        }),
      ],
    })
    expect(validateCatalog({ services: [service()] })).toMatchObject({ ok: true, catalog: { services: [{ id: 's1' }] } })
    expect(validateCatalog({ services: [most] })).toMatchObject({ ok: true })
  })
  it('takes null for what is not set', () => {
    const nulls = service({
      tags: null,
      requires: null,
      metadata: null,
      dashboard_client: null,
      plans: [plan({ metadata: null, schemas: null, maintenance_info: null, free: null })],
    })
    expect(validateCatalog({ services: [nulls] })).toMatchObject({ ok: true })
  })

  it.each<[string, unknown, string]>([
    ['no services', [], 'Service broker must provide at least one service'],
    ['no id', [service({ id: undefined })], 'Service id is required'],
    ['an empty name', [service({ name: '' })], 'Service name is required'],
    ['a blank name', [service({ name: ' ' })], 'Service name is required'],
    ['a number for a name', [service({ name: 5 })], 'Service name must be a string, but has value 5'],
    ['no description', [service({ description: undefined })], 'Service description is required'],
    [
      'a long description',
      [service({ description: 'x'.repeat(10_001) })],
      'Service description may not have more than 10000 characters',
    ],
    ['no bindable', [service({ bindable: undefined })], 'Service "bindable" field is required'],
    ['a wrong bindable', [service({ bindable: 'yes' })], 'Service "bindable" field must be a boolean, but has value "yes"'],
    ['wrong tags', [service({ tags: 'a' })], 'Service tags must be an array, but has value "a"'],
    ['long tags', [service({ tags: ['x'.repeat(2049)] })], 'Service tags may not be longer than 2048 characters together'],
    ['unknown requirements', [service({ requires: ['magic'] })], 'Service "requires" field 0 contains unsupported value "magic"'],
    ['a wrong shareable', [service({ metadata: { shareable: 'x' } })], 'Service metadata shareable must be a boolean'],
    ['half a dashboard client', [service({ dashboard_client: { id: 'x' } })], 'Service dashboard client secret is required'],
    ['no plans', [service({ plans: [] })], 'At least one plan is required'],
    ['plans left out', [service({ plans: undefined })], 'At least one plan is required'],
    ['the same service id', [service(), service({ name: 'other', plans: [plan({ id: 'p2' })] })], 'Service ids must be unique'],
    [
      'the same service name',
      [service(), service({ id: 's2', plans: [plan({ id: 'p2' })] })],
      'Service names must be unique within a broker',
    ],
    ['the same plan id', [service(), service({ id: 's2', name: 'x' })], "Unable to register plan with id 'p1'"],
    ['the same plan name', [service({ plans: [plan(), plan({ id: 'p2' })] })], 'Service db already has a plan named small'],
    ['no plan id', [service({ plans: [plan({ id: undefined })] })], 'Plan id is required'],
    ['a wrong free', [service({ plans: [plan({ free: 'no' })] })], 'Plan free must be a boolean, but has value "no"'],
    ['a wrong duration', [service({ plans: [plan({ maximum_polling_duration: '5' })] })], 'Maximum polling duration must be'],
    [
      'a version that is none',
      [service({ plans: [plan({ maintenance_info: { version: '1' } })] })],
      'Maintenance info version must be a semantic version',
    ],
    ['no version', [service({ plans: [plan({ maintenance_info: {} })] })], 'Maintenance info version is required'],
    [
      'unknown maintenance',
      [service({ plans: [plan({ maintenance_info: { version: '1.0.0', more: 1 } })] })],
      'Maintenance info contains unknown fields: more',
    ],
    ['a schema without $schema', [withSchema({ type: 'object' })], 'must have a "$schema"'],
    [
      'a schema that refers away',
      [withSchema({ $schema: DRAFT, properties: { a: { $ref: 'http://x/y' } } })],
      'must not refer to other documents: http://x/y',
    ],
    ['a large schema', [withSchema({ $schema: DRAFT, description: 'x'.repeat(65_536) })], 'must not be larger than 64KB'],
    ['a schema that is none', [withSchema({ $schema: DRAFT, type: 'thing' })], 'is no valid schema'],
    [
      'a schema of no object',
      [withSchema('text' as unknown as object)],
      'Plan schemas service_instance.create.parameters must be an object',
    ],
    ['services of another kind', ['x'], 'Service must be an object, but has value "x"'],
  ])('refuses %s', (_name, services, words) => {
    const verdict = validateCatalog({ services })
    expect(verdict).toMatchObject({ ok: false })
    expect(verdict.ok ? '' : verdict.problems).toContain(words)
  })
  it('tells all faults at once, each under its offering and plan', () => {
    const verdict = validateCatalog({
      services: [
        service({
          name: undefined,
          bindable: 3,
          plans: [plan({ description: undefined }), plan({ id: undefined, name: 'big' })],
        }),
      ],
    })
    expect(verdict.ok ? '' : verdict.problems).toBe(
      [
        '',
        'Service ',
        '  Service name is required',
        '  Service "bindable" field must be a boolean, but has value 3',
        '  Plan small',
        '    Plan description is required',
        '  Plan big',
        '    Plan id is required',
        '',
      ].join('\n'),
    )
  })
})

describe('schemas of parameters', () => {
  const schema = { type: 'object', properties: { size: { type: 'integer' } }, additionalProperties: false }
  it.each(['draft-04', 'draft-06', 'draft-07'])('checks parameters by %s', (draft) => {
    const whole = { $schema: `http://json-schema.org/${draft}/schema#`, ...schema }
    expect(schemaProblems(whole)).toEqual([])
    expect(parameterProblems(whole, { size: 1 })).toEqual([])
    expect(parameterProblems(whole, { size: 'x' })).toEqual(['/size must be integer'])
  })
  it('finds nothing by a schema that cannot be used', () => expect(parameterProblems(schema, { size: 'x' })).toEqual([]))
})
