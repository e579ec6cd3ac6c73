import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { CloudClient } from '@bloomery/client'
import { Catalog, OSB_VERSION, VERSION_HEADER } from '@bloomery/osb/protocol'
import { z } from 'zod'

/** The bundled broker's name in `cf service-brokers`. */
export const BROKER_NAME = 'bloomery'
const PATIENCE_MS = 60_000

/** Why the broker could not be registered, for people. */
export class RegistrationError extends Error {
  override readonly name = 'RegistrationError'
}

/** What this installation has told the platform of its broker. */
const Told = z.object({
  /** Of address, credentials and catalog: unchanged, there is nothing to tell. */
  digest: z.string(),
  /** Plans made public once: who hides one later does not want it back. */
  published: z.array(z.string()),
})
type Told = z.output<typeof Told>

export interface Registration {
  readonly client: Pick<CloudClient, 'list' | 'complete' | 'post'>
  readonly home: string
  readonly broker: { readonly url: string; readonly username: string; readonly password: string }
  /** Also where the operator has deleted it. */
  readonly again: boolean
  readonly say: (line: string) => void
}

interface Broker {
  readonly guid: string
}
interface ServicePlan {
  readonly guid: string
  readonly name: string
  readonly broker_catalog: { readonly id: string }
}

/** Makes the broker known as a global one with public plans, or tells the platform what has changed. Idempotent. */
export async function registerBroker({ client, home, broker, again, say }: Registration): Promise<void> {
  const catalog = await readCatalog(broker)
  if (catalog.services.length === 0) {
    say('no database server was found on this machine; nothing is offered (docs/services.md)')
    return
  }
  const file = join(home, 'broker-registered.json')
  const told = readTold(file)
  const digest = createHash('sha256')
    .update(JSON.stringify([broker, catalog]))
    .digest('hex')
  const [known] = await client.list<Broker>('/v3/service_brokers', { names: [BROKER_NAME] })
  if (!known && told && !again) {
    say(`it was deleted, and stays so; npm run broker:register brings it back`)
    return
  }
  const body = {
    name: BROKER_NAME,
    url: broker.url,
    authentication: { type: 'basic', credentials: { username: broker.username, password: broker.password } },
  }
  if (!known) await client.complete('POST', '/v3/service_brokers', { json: body })
  else if (told?.digest !== digest || again) await client.complete('PATCH', `/v3/service_brokers/${known.guid}`, { json: body })
  const published = await publish(client, known ? (told?.published ?? []) : [])
  writeTold(file, { digest, published })
  say(catalog.services.map(({ name }) => name).join(', '))
}

async function publish(client: Registration['client'], before: readonly string[]): Promise<string[]> {
  const plans = await client.list<ServicePlan>('/v3/service_plans', { service_broker_names: [BROKER_NAME] })
  for (const { guid, broker_catalog } of plans)
    if (!before.includes(broker_catalog.id)) await client.post(`/v3/service_plans/${guid}/visibility`, { type: 'public' })
  return [...new Set([...before, ...plans.map(({ broker_catalog }) => broker_catalog.id)])]
}

/** The broker may still be starting. */
async function readCatalog({ url, username, password }: Registration['broker']): Promise<{ services: { name: string }[] }> {
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  let last = ''
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await delay(200)) {
    try {
      const response = await fetch(`${url}/v2/catalog`, { headers: { authorization, [VERSION_HEADER]: OSB_VERSION } })
      if (response.ok) return parseCatalog(await response.json())
      last = `it answers ${response.status}`
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
  }
  throw new RegistrationError(`The service broker at ${url} does not answer: ${last}`)
}

/** One without any offering is no catalog in the specification's sense. */
const parseCatalog = (body: unknown): { services: { name: string }[] } =>
  z.object({ services: z.array(z.unknown()).length(0) }).safeParse(body).success ? { services: [] } : Catalog.parse(body)

function readTold(path: string): Told | undefined {
  return existsSync(path) ? Told.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data : undefined
}

function writeTold(path: string, told: Told): void {
  writeFileSync(`${path}.new`, JSON.stringify(told), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
