import { expect } from '@jest/globals'
import { MongoClient, type Db } from 'mongodb'
import type { OsbCaller } from './osb-caller.fixture.js'

/** What a broker answers that shows one instance. */
type InstanceOfPlan = ReturnType<OsbCaller['instance']>

/** Clients of instances, closed together. */
export class MongodbClients {
  readonly #clients: MongoClient[] = []

  async connect({ uri }: { readonly uri?: unknown }): Promise<Db> {
    const client = new MongoClient(String(uri), { serverSelectionTimeoutMS: 5_000 })
    this.#clients.push(client)
    return (await client.connect()).db()
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
  }
}

export const countThings = (db: Db): Promise<number> => db.collection('things').countDocuments()

/**
 * Two instances, bound twice and once: each has a server, each binding a user of its own, who is shut out with the binding.
 * `meanwhile` tries more while all are bound.
 */
export async function tryServersOfTheirOwn(
  [one, two]: readonly [InstanceOfPlan, InstanceOfPlan],
  clients: MongodbClients,
  meanwhile: (bound: { readonly db: Db; readonly credentials: Readonly<Record<string, unknown>> }) => Promise<void> = () =>
    Promise.resolve(),
): Promise<void> {
  expect(await Promise.all([one.create(), two.create()])).toMatchObject([{ state: 'succeeded' }, { state: 'succeeded' }])
  const [first, second, stranger] = [await one.bind(), await one.bind(), await two.bind()]
  const [db, other] = [await clients.connect(first.credentials), await clients.connect(second.credentials)]
  await db.collection('things').insertOne({ word: 'ours' })
  expect(await other.collection('things').findOne({}, { projection: { _id: 0 } })).toMatchObject({ word: 'ours' })
  expect(await countThings(await clients.connect(stranger.credentials))).toBe(0)
  const elsewhere = `${stranger.credentials['uri']}`.replace(
    /@[^/]+/,
    `@${first.credentials['host']}:${first.credentials['port']}`,
  )
  await expect(clients.connect({ uri: elsewhere })).rejects.toThrow(/uthentication failed/)
  await meanwhile({ db, credentials: first.credentials })

  expect(await one.unbind(second.guid)).toMatchObject({ state: 'succeeded' })
  await expect(countThings(other)).rejects.toThrow(
    /not authorized|closed|interrupted|uthentication failed|requires authentication/i,
  )
  await expect(clients.connect(second.credentials)).rejects.toThrow(/uthentication failed/)
  expect(await countThings(db)).toBe(1)
  expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  await expect(clients.connect(first.credentials)).rejects.toThrow()
  await two.remove()
}

/** Backs up what an instance holds, takes it away, and restores it; answers the backup's id. */
export async function tryBackupAndRestore(one: InstanceOfPlan, db: Db): Promise<string> {
  const before = await countThings(db)
  expect(before).toBeGreaterThan(0)
  expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
  const { body } = await one.fetch()
  const [backup] = (body['parameters'] as { backups: { id: string; state: string }[] }).backups
  expect(backup).toMatchObject({ state: 'made' })
  const id = backup?.id ?? ''
  await db.collection('things').drop()
  expect(await one.update({ parameters: { restore: id } })).toMatchObject({ state: 'succeeded' })
  expect(await countThings(db)).toBe(before)
  return id
}
