import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { ScriptedBroker } from '@bloomery/osb/scripted-broker'
import type { Answer, Caller, Json } from '../testing.fixture.js'

/** Registers a broker; resolves with the job's end. */
export async function registerBroker(
  caller: Caller,
  broker: ScriptedBroker,
  options: { readonly name?: string; readonly spaceGuid?: string; readonly url?: string; readonly password?: string } = {},
): Promise<{ guid: string; name: string; job: Json }> {
  const name = options.name ?? `broker-${randomUUID().slice(0, 8)}`
  const accepted = await caller.post('/v3/service_brokers', {
    name,
    url: options.url ?? broker.url,
    authentication: { type: 'basic', credentials: { username: broker.username, password: options.password ?? broker.password } },
    ...(options.spaceGuid === undefined ? {} : { relationships: { space: { data: { guid: options.spaceGuid } } } }),
  })
  const job = await caller.job(accepted)
  const found = (await caller.get(`/v3/service_brokers?names=${name}`)).body.resources[0]
  return { guid: found.guid, name, job }
}

/** The broker's plans by name, opened to all. */
export async function openPlans(admin: Caller, brokerName: string): Promise<Record<string, string>> {
  const plans = (await admin.get(`/v3/service_plans?service_broker_names=${brokerName}`)).body.resources as {
    guid: string
    name: string
  }[]
  for (const { guid } of plans) await admin.post(`/v3/service_plans/${guid}/visibility`, { type: 'public' })
  return Object.fromEntries(plans.map(({ guid, name }) => [name, guid]))
}

export const createInstance = (
  caller: Caller,
  spaceGuid: string,
  planGuid: string | undefined,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Answer> =>
  caller.post('/v3/service_instances', {
    type: 'managed',
    name: `instance-${randomUUID().slice(0, 8)}`,
    relationships: { space: { data: { guid: spaceGuid } }, service_plan: { data: { guid: planGuid } } },
    ...more,
  })

/** Looks until it holds. */
export async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean, ms = 10_000): Promise<T> {
  for (const deadline = Date.now() + ms; ;) {
    const value = await read()
    if (holds(value)) return value
    if (Date.now() > deadline) throw new Error(`It did not come about: ${inspect(value)}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

export { ScriptedBroker }
