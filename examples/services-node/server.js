const http = require('node:http')
const { randomUUID } = require('node:crypto')
const cfenv = require('cfenv')

// How each kind of service is written to and read from, with the credentials that a binding brings. Clients are closed each time, so
// that what is asked for is what the server says now.
const kinds = {
  async mysql({ uri }, work) {
    const connection = await require('mysql2/promise').createConnection(uri)
    try {
      await connection.query('CREATE TABLE IF NOT EXISTS notes (id VARCHAR(64) PRIMARY KEY, text TEXT)')
      return await work({
        write: (id, text) => connection.execute('REPLACE INTO notes VALUES (?, ?)', [id, text]),
        read: async (id) => (await connection.execute('SELECT text FROM notes WHERE id = ?', [id]))[0][0]?.text,
      })
    } finally {
      connection.destroy()
    }
  },
  async postgresql({ uri }, work) {
    const client = new (require('pg').Client)({ connectionString: uri, connectionTimeoutMillis: 5000 })
    client.on('error', () => {})
    await client.connect()
    try {
      await client.query('CREATE TABLE IF NOT EXISTS notes (id text PRIMARY KEY, text text)')
      return await work({
        write: (id, text) =>
          client.query('INSERT INTO notes VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET text = excluded.text', [id, text]),
        read: async (id) => (await client.query('SELECT text FROM notes WHERE id = $1', [id])).rows[0]?.text,
      })
    } finally {
      await client.end()
    }
  },
  async redis({ uri }, work) {
    const client = require('redis').createClient({ url: uri, socket: { reconnectStrategy: false, connectTimeout: 5000 } })
    client.on('error', () => {})
    await client.connect()
    try {
      return await work({
        write: (id, text) => client.set(`note:${id}`, text),
        read: async (id) => (await client.get(`note:${id}`)) ?? undefined,
      })
    } finally {
      client.destroy()
    }
  },
  async mongodb({ uri }, work) {
    const client = new (require('mongodb').MongoClient)(uri, { serverSelectionTimeoutMS: 5000 })
    try {
      const notes = client.db().collection('notes')
      return await work({
        write: (id, text) => notes.replaceOne({ _id: id }, { text }, { upsert: true }),
        read: async (id) => (await notes.findOne({ _id: id }))?.text,
      })
    } finally {
      await client.close()
    }
  },
  // A queue is read from once: what was written under an id comes back for it.
  async rabbitmq({ uri }, work) {
    const connection = await require('amqplib').connect(uri, { timeout: 5000 })
    connection.on('error', () => {})
    try {
      // Publishing is heard of only on such a channel.
      const channel = await connection.createConfirmChannel()
      channel.on('error', () => {})
      const queue = async (id) => (await channel.assertQueue(`note-${id}`)).queue
      return await work({
        write: async (id, text) => {
          channel.sendToQueue(await queue(id), Buffer.from(text), { persistent: true })
          await channel.waitForConfirms()
        },
        read: async (id) => {
          const message = await channel.get(await queue(id))
          if (message) channel.ack(message)
          return message ? message.content.toString() : undefined
        },
      })
    } finally {
      await connection.close().catch(() => {})
    }
  },
}

// By tag first, which other brokers' offerings have too, then by the offering's name.
const bound = (kind) => {
  const services = Object.values(cfenv.getAppEnv().getServices())
  return services.find(({ tags, label }) => tags?.includes(kind) || label === kind)?.credentials
}

const body = async (request) => {
  let text = ''
  for await (const chunk of request) if ((text += chunk).length > 65536) throw new Error('too long')
  return text
}

http
  .createServer(async (request, response) => {
    const [, kind, id = randomUUID()] = request.url.split('/')
    const answer = (status, value) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify(value)}\n`)
    }
    try {
      if (!kind) return answer(200, { bound: Object.keys(kinds).filter((each) => bound(each)) })
      const credentials = bound(kind)
      if (!Object.hasOwn(kinds, kind) || !credentials) return answer(404, { error: `no service of the kind '${kind}' is bound` })
      if (request.method === 'PUT' || request.method === 'POST') {
        const text = await body(request)
        await kinds[kind](credentials, (store) => store.write(id, text))
        return answer(201, { id })
      }
      const text = await kinds[kind](credentials, (store) => store.read(id))
      return text === undefined ? answer(404, { error: 'there is no such note' }) : answer(200, { id, text })
    } catch (error) {
      console.error(`${kind}: ${error.stack}`)
      return answer(502, { error: error.message })
    }
  })
  .listen(process.env.PORT || 8080, () => console.log('services-node is up'))
