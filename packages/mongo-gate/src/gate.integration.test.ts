import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Binary, MongoClient, type Db } from 'mongodb'
import { createGate, type Gate } from './gate.js'
import { startTestServer, whyLeftOut, type TestServer } from './running-gate.fixture.js'
import { makeVerifier, type ScramVerifier } from './scram.js'

const DATABASE = 'own'
const leftOut = await whyLeftOut()

;(leftOut === undefined ? describe : describe.skip)('a gate before the development server, with the driver that apps use', () => {
  let behind: TestServer
  let gate: Gate
  let port: number
  const users = new Map<string, ScramVerifier>()
  let full = false
  const clients: MongoClient[] = []
  const lines: string[] = []

  beforeAll(async () => {
    behind = await startTestServer()
    users.set('alice', await makeVerifier('correct-horse'))
    gate = createGate({
      database: DATABASE,
      upstreamPath: behind.socket,
      users,
      maxConnections: 40,
      isFull: () => full,
      log: (line) => lines.push(line),
    })
    port = await gate.listen({ host: '127.0.0.1', port: 0 })
  }, 300_000)
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()))
    await gate?.close()
    await behind?.stop()
  })

  const connect = async (user = 'alice', password = 'correct-horse', database = DATABASE): Promise<Db> => {
    const credentials = user === '' ? '' : `${user}:${password}@`
    const client = new MongoClient(`mongodb://${credentials}127.0.0.1:${port}/${database}?authSource=${DATABASE}`, {
      serverSelectionTimeoutMS: 8_000,
      retryWrites: false,
    })
    clients.push(client)
    return (await client.connect()).db(database)
  }
  const codeOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => 'no error',
      (error: unknown) => (error as { code?: unknown }).code,
    )

  it('serves what apps do every day', async () => {
    const db = await connect()
    const things = db.collection<{ _id: number; n: number; tag?: string }>('things')
    await things.insertMany(Array.from({ length: 2500 }, (_, n) => ({ _id: n, n, tag: n % 2 ? 'odd' : 'even' })))
    expect(await things.countDocuments()).toBe(2500)
    // More than one batch, so that cursors are gone on with.
    expect(
      await things
        .find({ n: { $gte: 100 } })
        .batchSize(100)
        .toArray(),
    ).toHaveLength(2400)
    const half = things.find().batchSize(10)
    await half.next()
    await half.close()
    await things.updateOne({ _id: 5000 }, { $set: { n: 1 } }, { upsert: true })
    expect((await things.findOneAndUpdate({ _id: 5000 }, { $inc: { n: 1 } }, { returnDocument: 'after' }))?.n).toBe(2)
    await things.createIndex({ n: -1 }, { name: 'by-n' }, {})
    expect((await things.indexes()).length).toBeGreaterThan(0)
    expect(await things.aggregate([{ $group: { _id: '$tag', all: { $sum: 1 } } }, { $sort: { _id: 1 } }]).toArray()).toHaveLength(
      3,
    )
    await db.collection('others').insertOne({ thing: 7 })
    const [joined] = await db
      .collection('others')
      .aggregate([{ $lookup: { from: 'things', localField: 'thing', foreignField: '_id', as: 'found' } }])
      .toArray()
    expect(joined?.['found']).toHaveLength(1)
    expect(
      (await things.bulkWrite([{ deleteOne: { filter: { _id: 1 } } }, { insertOne: { document: { _id: -1, n: -1 } } }]))
        .deletedCount,
    ).toBe(1)
    expect(await things.distinct('tag')).toEqual(expect.arrayContaining(['even', 'odd']))
    await things.rename('renamed')
    expect((await db.listCollections().toArray()).map(({ name }) => name).sort()).toEqual(['others', 'renamed'])
    expect((await db.stats())['ok']).toBe(1)
    expect((await db.admin().listDatabases()).databases.map(({ name }) => name)).toEqual([DATABASE])
    await db.dropDatabase()
    expect(await db.listCollections().toArray()).toEqual([])
  }, 60_000)

  it('carries large documents both ways, and writes that wait for no answer', async () => {
    const db = await connect()
    const data = new Binary(Buffer.alloc(12 * 1024 * 1024, 7))
    await db.collection('large').insertOne({ data })
    const found = await db.collection('large').findOne()
    expect((found?.['data'] as Binary).length()).toBe(data.length())
    await db.collection('large').drop()
    const unheard = db.collection('unheard', { writeConcern: { w: 0 } })
    await unheard.insertOne({ said: true })
    await unheard.insertOne({ said: true })
    expect(await db.collection('unheard').countDocuments()).toBe(2)
  }, 60_000)

  it.each([
    ['a wrong password', 'alice', 'wrong-horse'],
    ['a user that is not there', 'bob', 'correct-horse'],
  ])('refuses %s', async (_, user, password) => {
    expect(await codeOf(connect(user, password))).toBe(18)
  })

  it('refuses who does not log in', async () => {
    const db = await connect('')
    expect(await codeOf(db.collection('things').findOne())).toBe(13)
    expect(await codeOf(db.listCollections().toArray())).toBe(13)
    expect((await db.command({ ping: 1 }))['ok']).toBe(1)
  })

  it('keeps to its one database', async () => {
    const db = await connect()
    const client = db.client
    for (const other of ['other', 'admin', 'local', 'config', 'OWN', 'own2'])
      expect(await codeOf(client.db(other).collection('things').insertOne({ a: 1 }))).toBe(13)
    expect(await codeOf(client.db('other').dropDatabase())).toBe(13)
    expect(
      await codeOf(
        db
          .collection('a')
          .aggregate([{ $out: { db: 'other', coll: 'x' } }])
          .toArray(),
      ),
    ).toBe(13)
    expect(
      await codeOf(
        db
          .collection('a')
          .aggregate([{ $merge: { into: { db: 'other', coll: 'x' } } }])
          .toArray(),
      ),
    ).toBe(13)
    const nested = [{ $facet: { a: [{ $lookup: { from: { db: 'other', coll: 'x' }, pipeline: [], as: 'b' } }] } }]
    expect(await codeOf(db.collection('a').aggregate(nested).toArray())).toBe(13)
    expect(await codeOf(client.db('admin').command({ renameCollection: `${DATABASE}.a`, to: 'other.a' }))).toBe(13)
    expect(await codeOf(client.db('admin').command({ renameCollection: 'other.a', to: `${DATABASE}.a` }))).toBe(13)
    for (const command of ['serverStatus', 'getLog', 'hostInfo', 'getCmdLineOpts', 'replSetGetStatus', 'usersInfo', 'shutdown'])
      expect(await codeOf(client.db('admin').command({ [command]: 1 }))).toBe(13)
    for (const command of ['eval', 'mapReduce', 'serverStatus', 'createUser', 'LISTCOLLECTIONS', 'constructor'])
      expect(await codeOf(db.command({ [command]: 'x' }))).toBe(59)
    expect(await codeOf(db.collection('system.namespaces').find().toArray())).toBe(73)
  })

  it('runs no code of its clients, and says what it does not have', async () => {
    const db = await connect()
    await db.collection('code').insertOne({ a: 1 })
    expect(await codeOf(db.collection('code').find({ $where: 'sleep(1000) || true' }).toArray())).not.toBe('no error')
    const withCode = [{ $project: { b: { $function: { body: 'function () {}', args: [], lang: 'js' } } } }]
    expect(await codeOf(db.collection('code').aggregate(withCode).toArray())).toBe(13)
    expect(await codeOf(db.collection('code').createIndex({ a: 'text' }))).toBe(67)
    expect(
      await codeOf(
        db
          .collection('code')
          .aggregate([{ $changeStream: {} }])
          .toArray(),
      ),
    ).toBe(40324)
  })

  it('lets data go but not come while there is no room', async () => {
    const db = await connect()
    const rooms = db.collection('rooms')
    await rooms.insertOne({ a: 1 })
    full = true
    try {
      expect(await codeOf(rooms.insertOne({ a: 2 }))).toBe(14031)
      expect(await codeOf(rooms.aggregate([{ $out: 'copy' }]).toArray())).toBe(14031)
      expect(await rooms.countDocuments()).toBe(1)
      expect((await rooms.deleteMany({})).deletedCount).toBe(1)
    } finally {
      full = false
    }
  })

  it('ends the sessions of a user who is removed, at once, and lets nobody in by it', async () => {
    users.set('carol', await makeVerifier('carols-own'))
    gate.setUsers(users)
    const [carols, alices] = [await connect('carol', 'carols-own'), await connect()]
    await carols.collection('c').insertOne({ a: 1 })
    await alices.collection('c').findOne()
    const ended = new Promise((resolve) => carols.client.once('connectionClosed', resolve))
    users.delete('carol')
    expect(gate.setUsers(users)).toBeGreaterThan(0)
    await ended
    expect(await codeOf(carols.collection('c').findOne())).toBe(18)
    expect(await alices.collection('c').countDocuments()).toBe(1)
  }, 60_000)

  it('keeps the data over a crash of the server, and lets clients go on', async () => {
    const db = await connect()
    await db.collection('kept').insertOne({ a: 1 })
    await behind.server.restart()
    expect(await db.collection('kept').countDocuments()).toBe(1)
  }, 60_000)

  it('tells its log nothing that clients sent', () => {
    expect(lines.join('\n')).not.toMatch(/correct-horse|carols-own|sleep\(/)
  })
})
