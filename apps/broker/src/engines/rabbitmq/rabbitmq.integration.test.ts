import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { connect } from 'amqplib'
import type { Broker } from '../../broker.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { RABBITMQ, RABBITMQ_PLANS } from './plans.js'
import { rabbitmqSoftware } from './software.js'

const [shared, small] = RABBITMQ_PLANS.map(({ id }) => id) as [string, string]

const present = rabbitmqSoftware({ image: undefined }).locate() !== undefined
if (!present) console.warn('There is no rabbitmq-server on this machine: the offering rabbitmq is NOT tested here.')
const describeIfPresent = present ? describe : describe.skip

describeIfPresent('rabbitmq', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  let broker: Broker & { platform: OsbCaller }
  const instance = (plan = shared) => broker.platform.instance(RABBITMQ.id, plan)
  beforeAll(async () => {
    broker = await home.start(state.url)
  }, 60_000)
  afterAll(async () => {
    await broker.close()
    await home.remove()
  }, 60_000)

  async function send(uri: unknown, queue: string, ...texts: string[]): Promise<void> {
    const connection = await connect(String(uri))
    const channel = await connection.createConfirmChannel()
    await channel.assertQueue(queue, { durable: true })
    for (const text of texts) channel.sendToQueue(queue, Buffer.from(text), { persistent: true, headers: { from: 'a test' } })
    await channel.waitForConfirms()
    await connection.close()
  }
  async function take(uri: unknown, queue: string): Promise<string[]> {
    const connection = await connect(String(uri))
    const channel = await connection.createChannel()
    const texts: string[] = []
    for (let got = await channel.get(queue, { noAck: true }); got; got = await channel.get(queue, { noAck: true }))
      texts.push(got.content.toString())
    await connection.close()
    return texts
  }

  it('gives each instance a virtual host that others cannot enter, and each binding a user', async () => {
    const [one, two] = [instance(), instance()]
    const made = await Promise.all([one.create(), two.create()])
    expect(made).toEqual([expect.objectContaining({ state: 'succeeded' }), expect.objectContaining({ state: 'succeeded' })])
    const [first, second, stranger] = [await one.bind(), await one.bind(), await two.bind()]
    await send(first.credentials['uri'], 'work', 'one', 'two')
    expect(await take(second.credentials['uri'], 'work')).toEqual(['one', 'two'])
    const elsewhere = String(stranger.credentials['uri']).replace(/[^/]+$/, String(first.credentials['vhost']))
    await expect(connect(elsewhere)).rejects.toThrow()
    await expect(connect(String(stranger.credentials['uri']).replace(/[^/]+$/, '%2F'))).rejects.toThrow()

    const session = await connect(String(second.credentials['uri']))
    const closed = new Promise((resolve) => session.once('close', resolve))
    session.on('error', () => undefined)
    expect(await one.unbind(second.guid)).toMatchObject({ state: 'succeeded' })
    await closed
    await expect(connect(String(second.credentials['uri']))).rejects.toThrow()
    await send(first.credentials['uri'], 'work', 'three')
    await one.remove()
    await expect(connect(String(first.credentials['uri']))).rejects.toThrow()
    await two.remove()
  }, 150_000)

  it('keeps queues and messages over backup, restore, and a server of its own', async () => {
    const one = instance()
    await one.create()
    const binding = await one.bind()
    await send(binding.credentials['uri'], 'work', 'a', 'b', 'c')
    expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
    const { body } = await one.fetch()
    const [backup] = (body['parameters'] as { backups: { id: string }[] }).backups
    expect(await take(binding.credentials['uri'], 'work')).toEqual(['a', 'b', 'c'])
    expect(await one.update({ parameters: { restore: backup?.id } })).toMatchObject({ state: 'succeeded' })
    expect(await one.update({ plan_id: small })).toMatchObject({ state: 'succeeded' })
    const { body: moved } = await broker.platform.call('GET', `${one.path}/service_bindings/${binding.guid}`)
    const { uri } = moved['credentials'] as { uri: string }
    expect(await eventually(() => take(uri, 'work'))).toEqual(['a', 'b', 'c'])
    expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  }, 180_000)
})
