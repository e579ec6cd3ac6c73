import { randomBytes } from 'node:crypto'
import { startPlatform, type Platform } from '../../e2e/platform.js'
import { seconds, summary } from '../statistics.js'
import { administratorOf, type Administrator } from './admin.js'
import { Cloud } from './cloud.js'

const COUNT = Number(process.env['BENCH_INSTANCES'] ?? 500)
const RUNS = Number(process.env['BENCH_RUNS'] ?? 3)
const OFFERINGS = (process.env['BENCH_OFFERINGS'] ?? 'mysql,postgresql').split(',') as ('mysql' | 'postgresql')[]
const PATIENCE_SECONDS = 600

interface Round {
  /** All asked for at once, until the last is ready. */
  readonly create: number
  /** A key for each, which is a user on the server, in the same way. */
  readonly key: number
  readonly delete: number
  /** Deletions that failed at first. */
  readonly deletesRepeated: number
  /** The same databases and users, made by the administrator. */
  readonly straight: number
}

const all = <T>(work: (i: number) => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: COUNT }, (_, i) => work(i)))

async function round(cloud: Cloud, space: string, plan: string, admin: Administrator): Promise<Round> {
  const word = `b${randomBytes(4).toString('hex')}`
  const instances = `/v3/service_instances?space_guids=${space}`
  const relation = (guid: string) => ({ data: { guid } })
  let guids: string[] = []
  const create = await seconds(async () => {
    await all((i) =>
      cloud.call('POST', '/v3/service_instances', {
        type: 'managed',
        name: `${word}-${i}`,
        relationships: { space: relation(space), service_plan: relation(plan) },
      }),
    )
    guids = (await cloud.settled(instances, COUNT, PATIENCE_SECONDS)).map(({ guid }) => guid)
  })
  const key = await seconds(async () => {
    await all((i) =>
      cloud.call('POST', '/v3/service_credential_bindings', {
        type: 'key',
        name: `${word}-${i}`,
        relationships: { service_instance: relation(guids[i] ?? '') },
      }),
    )
    await cloud.settled('/v3/service_credential_bindings?type=key', COUNT, PATIENCE_SECONDS)
  })
  let deletesRepeated = 0
  const remove = await seconds(async () => {
    await all((i) => cloud.call('DELETE', `/v3/service_instances/${guids[i] ?? ''}`))
    deletesRepeated = await cloud.gone(instances, PATIENCE_SECONDS)
  })
  const straight = await seconds(() => all((i) => admin.make(`${word}_${i}`)))
  await all((i) => admin.remove(`${word}_${i}`))
  return { create, key, delete: remove, deletesRepeated, straight }
}

async function measure(platform: Platform, cloud: Cloud, offering: 'mysql' | 'postgresql') {
  const offerings = `/v3/service_plans?names=shared&service_offering_names=${offering}`
  const plan = await cloud.find(offerings)
  const organization = await cloud.find('/v3/organizations?names=bloomery')
  const space = (
    await cloud.call('POST', '/v3/spaces', {
      name: `bench-${offering}`,
      relationships: { organization: { data: { guid: organization } } },
    })
  )['guid'] as string
  // The first instance starts the server, which is not what is measured; it stays, so that the server does.
  const keeper = await cloud.find('/v3/spaces?names=dev')
  await cloud.call('POST', '/v3/service_instances', {
    type: 'managed',
    name: `keeper-${offering}`,
    relationships: { space: { data: { guid: keeper } }, service_plan: { data: { guid: plan } } },
  })
  await cloud.settled(`/v3/service_instances?names=keeper-${offering}`, 1, PATIENCE_SECONDS)
  const admin = await administratorOf(platform, offering)
  try {
    const rounds: Round[] = []
    for (let i = 0; i < RUNS; i++) {
      rounds.push(await round(cloud, space, plan, admin))
      console.error(offering, JSON.stringify(rounds.at(-1)))
    }
    return {
      createSeconds: summary(rounds.map(({ create }) => create)),
      keySeconds: summary(rounds.map(({ key }) => key)),
      deleteSeconds: summary(rounds.map((each) => each.delete)),
      deletesRepeated: rounds.reduce((sum, each) => sum + each.deletesRepeated, 0),
      straightSeconds: summary(rounds.map(({ straight }) => straight)),
      createAndKeyToStraight: summary(rounds.map(({ create, key, straight }) => (create + key) / straight)),
      createToStraight: summary(rounds.map(({ create, straight }) => create / straight)),
    }
  } finally {
    await admin.close()
  }
}

export async function run() {
  const platform = await startPlatform({ engine: 'docker' })
  try {
    const cloud = await Cloud.open(platform)
    const byOffering: Record<string, unknown> = {}
    for (const offering of OFFERINGS) byOffering[offering] = await measure(platform, cloud, offering)
    return { instances: COUNT, offerings: byOffering }
  } finally {
    await platform.stop()
  }
}
