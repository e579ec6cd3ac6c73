import type { FastifyRequest } from 'fastify'
import type { Database, Prisma } from '@bloomery/database'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { presentApp } from '../apps/presenter.js'
import { presentServiceInstance } from '../service-instances/presenter.js'
import { BINDING_PARTS, type BindingParts } from './binding-parts.js'
import { presentBinding } from './presenter.js'

export const BINDING_INCLUDES = ['app', 'service_instance'] as const

export async function listBindings(db: Database, request: FastifyRequest) {
  const query = parseListQuery(request, {
    filters: [
      'names',
      'type',
      'app_guids',
      'app_names',
      'service_instance_guids',
      'service_instance_names',
      'service_plan_guids',
      'service_plan_names',
      'service_offering_guids',
      'service_offering_names',
    ],
    orderBy: { name: 'name' },
    include: BINDING_INCLUDES,
  })
  const among = (
    name: string,
    condition: (values: string[]) => Prisma.CredentialBindingWhereInput,
  ): Prisma.CredentialBindingWhereInput[] => {
    const values = query.values(name)
    return values ? [condition(values)] : []
  }
  const spaces = request.access.spaces()
  const where: Prisma.CredentialBindingWhereInput = {
    AND: [
      // An app binding belongs to the app's space, which need not be the one where the instance is at home.
      request.access.isGlobalReader
        ? {}
        : { OR: [{ app: { space: spaces } }, { appGuid: null, serviceInstance: { space: spaces } }] },
      ...query.common,
      ...among('names', (values) => ({ name: { in: values } })),
      ...among('type', (values) => ({ type: { in: values } })),
      ...among('app_guids', (values) => ({ appGuid: { in: values } })),
      ...among('app_names', (values) => ({ app: { name: { in: values } } })),
      ...among('service_instance_guids', (values) => ({ serviceInstanceGuid: { in: values } })),
      ...among('service_instance_names', (values) => ({ serviceInstance: { name: { in: values } } })),
      ...among('service_plan_guids', (values) => ({ serviceInstance: { planGuid: { in: values } } })),
      ...among('service_plan_names', (values) => ({ serviceInstance: { plan: { name: { in: values } } } })),
      ...among('service_offering_guids', (values) => ({ serviceInstance: { plan: { offeringGuid: { in: values } } } })),
      ...among('service_offering_names', (values) => ({ serviceInstance: { plan: { offering: { name: { in: values } } } } })),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.credentialBinding.findMany({ where, orderBy: query.orderBy, include: BINDING_PARTS, ...window }),
    () => db.credentialBinding.count({ where }),
  )
  return presentList(
    request,
    query,
    page,
    (binding) => presentBinding(binding, request.baseUrl),
    includedOf(query.includes, page.rows, request.baseUrl),
  )
}

/** The apps and instances of bindings, each once, as far as they were asked for. */
export function includedOf(
  names: ReadonlySet<string>,
  bindings: readonly BindingParts[],
  baseUrl: string,
): Record<string, readonly unknown[]> {
  return {
    ...(names.has('app')
      ? { apps: unique(bindings.flatMap(({ app }) => app ?? [])).map((each) => presentApp(each, baseUrl)) }
      : {}),
    ...(names.has('service_instance')
      ? {
          service_instances: unique(bindings.map(({ serviceInstance }) => serviceInstance)).map((each) =>
            presentServiceInstance(each, baseUrl),
          ),
        }
      : {}),
  }
}

const unique = <T extends { guid: string }>(rows: readonly T[]): T[] => [...new Map(rows.map((row) => [row.guid, row])).values()]
