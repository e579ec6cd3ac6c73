import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ClientError, type Organization, type ServiceInstance, type ServicePlan, type Space } from '@bloomery/client'
import type { Context } from '../../context.js'

/** Instances that the targeted space may use, those shared into it too. */
export async function findInstance({ client, space }: Context, name: string): Promise<ServiceInstance | undefined> {
  const [instance] = await client.list<ServiceInstance>('/v3/service_instances', { names: [name], space_guids: space.guid })
  return instance
}

export async function getInstance(context: Context, name: string): Promise<ServiceInstance> {
  const instance = await findInstance(context, name)
  if (instance) return instance
  throw new ClientError('not-found', `Service instance '${name}' not found in space ${context.space.name}. See: bloom services`)
}

/** The one plan of that name; where brokers share names, `broker` has to choose. */
export async function getPlan(
  { client, space }: Context,
  plan: string,
  by: { readonly offering?: string; readonly offeringGuid?: string; readonly broker?: string | undefined },
): Promise<ServicePlan> {
  const plans = await client.list<ServicePlan>('/v3/service_plans', {
    names: [plan],
    space_guids: space.guid,
    ...(by.offering === undefined ? {} : { service_offering_names: [by.offering] }),
    ...(by.offeringGuid === undefined ? {} : { service_offering_guids: by.offeringGuid }),
    ...(by.broker === undefined ? {} : { service_broker_names: [by.broker] }),
  })
  const [found, other] = plans
  if (!found)
    throw new ClientError(
      'not-found',
      `The plan '${plan}' of '${by.offering ?? 'this service'}' was not found. See: bloom marketplace`,
    )
  if (other)
    throw new ClientError('bad-argument', `Several brokers offer '${by.offering ?? ''}' with a plan '${plan}'. Name one with -b.`)
  return found
}

/** A JSON object, given as such or as the path of a file that holds it. */
export async function readObject(
  context: Context,
  given: string | undefined,
  flag: string,
): Promise<Record<string, unknown> | undefined> {
  if (given === undefined) return undefined
  const text = given.trim().startsWith('{')
    ? given
    : await readFile(resolve(context.surroundings.cwd, given), 'utf8').catch(() => undefined)
  try {
    const value: unknown = JSON.parse(text ?? '')
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Said below, the same as for what is JSON but no object.
  }
  throw new ClientError('bad-argument', `${flag} takes a JSON object, or the path of a file that holds one.`)
}

export const tagsOf = (text: string): string[] =>
  text
    .split(',')
    .map((tag) => tag.trim())
    .filter(Boolean)

export async function getOrganization({ client }: Context, name: string): Promise<Organization> {
  const [found] = await client.list<Organization>('/v3/organizations', { names: [name] })
  if (found) return found
  throw new ClientError('not-found', `The org '${name}' was not found.`)
}

export async function getSpace(context: Context, name: string, organization: string | undefined): Promise<Space> {
  const { guid } = organization === undefined ? context.organization : await getOrganization(context, organization)
  const [found] = await context.client.list<Space>('/v3/spaces', { names: [name], organization_guids: guid })
  if (found) return found
  throw new ClientError('not-found', `The space '${name}' was not found.`)
}

export const data = (guid: string): { readonly data: { readonly guid: string } } => ({ data: { guid } })
