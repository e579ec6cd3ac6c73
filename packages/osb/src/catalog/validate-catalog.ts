import type { z } from 'zod'
import { Catalog, type CatalogPlan, type CatalogService } from '../protocol/catalog.js'
import { schemaProblems } from './parameter-schemas.js'

export type CatalogVerdict =
  | { readonly ok: true; readonly catalog: Catalog }
  /** `problems` is ready to be shown: every fault, under the offering and plan that has it. */
  | { readonly ok: false; readonly problems: string }

interface Problems {
  readonly messages: string[]
  readonly services: Map<number, { readonly messages: string[]; readonly plans: Map<number, string[]> }>
}
/** How Cloud Foundry calls the fields. */
const SERVICE_FIELDS: Readonly<Record<string, string>> = {
  id: 'Service id',
  name: 'Service name',
  description: 'Service description',
  bindable: 'Service "bindable" field',
  plan_updateable: 'Service "plan_updateable" field',
  instances_retrievable: 'Service "instances_retrievable" field',
  bindings_retrievable: 'Service "bindings_retrievable" field',
  allow_context_updates: 'Service "allow_context_updates" field',
  tags: 'Service tags',
  requires: 'Service "requires" field',
  metadata: 'Service metadata',
  'metadata.shareable': 'Service metadata shareable',
  plans: 'Service plans list',
  dashboard_client: 'Service dashboard client attributes',
  'dashboard_client.id': 'Service dashboard client id',
  'dashboard_client.secret': 'Service dashboard client secret',
  'dashboard_client.redirect_uri': 'Service dashboard client redirect_uri',
}
const PLAN_FIELDS: Readonly<Record<string, string>> = {
  id: 'Plan id',
  name: 'Plan name',
  description: 'Plan description',
  free: 'Plan free',
  bindable: 'Plan bindable',
  plan_updateable: 'Plan "plan_updateable" field',
  metadata: 'Plan metadata',
  schemas: 'Plan schemas',
  maximum_polling_duration: 'Maximum polling duration',
  maintenance_info: 'Maintenance info',
  'maintenance_info.version': 'Maintenance info version',
  'maintenance_info.description': 'Maintenance info description',
  binding_rotatable: 'Plan "binding_rotatable" field',
}

/**
 * Judges what a broker gave as its catalog by every rule of the specification at once. Optional fields may be null, as many brokers
 * write what they have not set.
 */
export function validateCatalog(given: Record<string, unknown>): CatalogVerdict {
  const value = withoutNulls(given)
  const problems: Problems = { messages: [], services: new Map() }
  const parsed = Catalog.safeParse(value)
  const offered = value['services']
  const services = listOf(offered)
  if (!Array.isArray(offered) || offered.length === 0) problems.messages.push('Service broker must provide at least one service')
  else if (!parsed.success) for (const issue of parsed.error.issues) addIssue(problems, issue, value)
  addDuplicates(problems, services)
  services.forEach((service, index) => addSchemaProblems(problems, service, index))
  if (parsed.success && isEmpty(problems)) return { ok: true, catalog: parsed.data }
  return { ok: false, problems: format(problems, services) }
}

const isEmpty = (problems: Problems): boolean => problems.messages.length === 0 && problems.services.size === 0

type Loose = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Loose => typeof value === 'object' && value !== null && !Array.isArray(value)
const listOf = (value: unknown): Loose[] => (Array.isArray(value) ? value.filter(isObject) : [])
const dropNulls = (value: Loose): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null))

function withoutNulls(catalog: Loose): Loose {
  const { services } = catalog
  if (!Array.isArray(services)) return catalog
  return {
    ...catalog,
    services: services.map((service: unknown) => {
      if (!isObject(service)) return service
      const { plans } = service
      return {
        ...dropNulls(service),
        ...(Array.isArray(plans)
          ? { plans: plans.map((plan: unknown) => (isObject(plan) ? withoutNullSchemas(dropNulls(plan)) : plan)) }
          : {}),
      }
    }),
  }
}
const withoutNullSchemas = (plan: Loose): Loose =>
  isObject(plan['schemas'])
    ? {
        ...plan,
        schemas: JSON.parse(
          JSON.stringify(plan['schemas'], (_key, inner: unknown) => (inner === null ? undefined : inner)),
        ) as unknown,
      }
    : plan

function serviceProblems(problems: Problems, index: number) {
  const present = problems.services.get(index) ?? { messages: [], plans: new Map<number, string[]>() }
  problems.services.set(index, present)
  return present
}
function addToPlan(problems: Problems, service: number, plan: number, message: string): void {
  const { plans } = serviceProblems(problems, service)
  plans.set(plan, [...(plans.get(plan) ?? []), message])
}

function addIssue(problems: Problems, issue: z.core.$ZodIssue, catalog: Loose): void {
  const [, service, field, plan, ...rest] = issue.path
  if (typeof service !== 'number') {
    problems.messages.push(`${issue.path.join('.') || 'The catalog'} ${wordsOf(issue, catalog)}`)
  } else if (field === 'plans' && typeof plan === 'number') {
    addToPlan(problems, service, plan, `${labelOf(PLAN_FIELDS, rest, 'Plan')} ${wordsOf(issue, catalog)}`)
  } else {
    const path = issue.path.slice(2)
    const message =
      field === 'plans' && plan === undefined
        ? 'At least one plan is required'
        : `${labelOf(SERVICE_FIELDS, path, 'Service')} ${wordsOf(issue, catalog)}`
    serviceProblems(problems, service).messages.push(message)
  }
}

function labelOf(labels: Readonly<Record<string, string>>, path: readonly PropertyKey[], fallback: string): string {
  for (let length = path.length; length > 0; length--) {
    const known = labels[path.slice(0, length).join('.')]
    if (known !== undefined) return length === path.length ? known : `${known} ${path.slice(length).join('.')}`
  }
  return path.length === 0 ? fallback : `${fallback} ${path.join('.')}`
}

function wordsOf(issue: z.core.$ZodIssue, catalog: Loose): string {
  const given = issue.path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined),
    catalog,
  )
  if (issue.code === 'invalid_type') {
    if (given === undefined) return 'is required'
    const wanted = issue.expected === 'record' ? 'object' : issue.expected === 'int' ? 'integer' : issue.expected
    return `must be ${/^[aeio]/.test(wanted) ? 'an' : 'a'} ${wanted}, but has value ${show(given)}`
  }
  if (issue.code === 'invalid_value') return `contains unsupported value ${show(given)}`
  if (issue.code === 'unrecognized_keys') return `contains unknown fields: ${issue.keys.join(', ')}`
  return issue.message.startsWith('Invalid input') || issue.message.startsWith('Too ')
    ? `has the invalid value ${show(given)}`
    : issue.message
}
const show = (value: unknown): string => (JSON.stringify(value) ?? 'undefined').slice(0, 200)

const duplicatesOf = (values: readonly unknown[]): unknown[] => [
  ...new Set(values.filter((value, i) => value !== undefined && values.indexOf(value) !== i)),
]

function addDuplicates(problems: Problems, services: readonly Loose[]): void {
  if (duplicatesOf(services.map(({ id }) => id)).length > 0) problems.messages.push('Service ids must be unique')
  if (duplicatesOf(services.map(({ name }) => name)).length > 0)
    problems.messages.push('Service names must be unique within a broker')
  const clients = services.flatMap(({ dashboard_client: client }) => (isObject(client) ? [client['id']] : []))
  if (duplicatesOf(clients).length > 0) problems.messages.push('Service dashboard_client id must be unique')
  const seen = new Map<unknown, { service: Loose; plan: Loose }>()
  services.forEach((service, index) => {
    const plans = listOf(service['plans'])
    for (const name of duplicatesOf(plans.map((plan) => plan['name'])))
      serviceProblems(problems, index).messages.push(
        `Plan names must be unique within a service. Service ${text(service['name'])} already has a plan named ${text(name)}`,
      )
    for (const plan of plans) {
      const { id } = plan
      if (id === undefined) continue
      const other = seen.get(id)
      if (other)
        problems.messages.push(
          `Plan ids must be unique. Unable to register plan with id '${text(id)}' (plan name '${text(plan['name'])}', service name '${text(service['name'])}') because it uses the same id as another plan in the catalog (plan name '${text(other.plan['name'])}', service name '${text(other.service['name'])}')`,
        )
      seen.set(id, { service, plan })
    }
  })
}

/** The schemas of a plan with the words for where each stands. */
const schemasOf = (plan: Loose): [string, unknown][] => {
  const { schemas } = plan as { schemas?: Partial<CatalogPlan['schemas']> }
  return [
    ['Schema service_instance.create.parameters', schemas?.service_instance?.create?.parameters],
    ['Schema service_instance.update.parameters', schemas?.service_instance?.update?.parameters],
    ['Schema service_binding.create.parameters', schemas?.service_binding?.create?.parameters],
  ]
}

function addSchemaProblems(problems: Problems, service: Loose, serviceIndex: number): void {
  listOf((service as Partial<CatalogService>).plans).forEach((plan, planIndex) => {
    for (const [where, schema] of schemasOf(plan))
      if (isObject(schema))
        for (const problem of schemaProblems(schema)) addToPlan(problems, serviceIndex, planIndex, `${where} ${problem}`)
  })
}

const text = (value: unknown): string => (typeof value === 'string' ? value : show(value))
const nameOf = (thing: Loose | undefined): string => text(thing?.['name'] ?? '')

function format(problems: Problems, services: readonly Loose[]): string {
  const lines = [...problems.messages]
  for (const [index, { messages, plans }] of [...problems.services].sort(([a], [b]) => a - b)) {
    lines.push(`Service ${nameOf(services[index])}`, ...messages.map((message) => `  ${message}`))
    for (const [planIndex, ofPlan] of [...plans].sort(([a], [b]) => a - b))
      lines.push(`  Plan ${nameOf(listOf(services[index]?.['plans'])[planIndex])}`, ...ofPlan.map((message) => `    ${message}`))
  }
  return `\n${lines.join('\n')}\n`
}
