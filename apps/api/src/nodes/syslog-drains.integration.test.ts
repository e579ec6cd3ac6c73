import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { aManagedInstance, BindingBroker } from '../service-bindings/bound-services.fixture.js'
import { anOrganization, startTestApi, type TestApi } from '../testing.fixture.js'
import { createApp } from '../resources/push.fixture.js'
import { SyslogDrainList } from './syslog-drains.js'

describe('the list of syslog drains', () => {
  let api: TestApi
  let place: Awaited<ReturnType<typeof anOrganization>>
  let broker: BindingBroker
  let url: string
  beforeAll(async () => {
    api = await startTestApi()
    place = await anOrganization(api)
    broker = new BindingBroker()
    url = await broker.start()
    broker.answer = ({ method }) =>
      method === 'PUT' ? { status: 201, body: { credentials: {}, syslog_drain_url: 'syslog://logs.example.com:514' } } : undefined
  })
  afterAll(async () => {
    broker.close()
    await api.close()
  })
  const drains = () => new SyslogDrainList(api.context.pool, api.context.keyring)
  const bind = async (app: string, service: string): Promise<void> => {
    const answer = await place.developer.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: { data: { guid: app } }, service_instance: { data: { guid: service } } },
    })
    if (answer.status === 202) expect(await place.developer.job(answer)).toMatchObject({ state: 'COMPLETE' })
    else expect(answer.status).toBe(201)
  }

  it('has those that users provide, with their certificates, and says when nothing has changed', async () => {
    const app = await createApp(place.developer, place.space.guid)
    const before = await drains().read(undefined)
    const service = await place.developer.post('/v3/service_instances', {
      type: 'user-provided',
      name: 'logs',
      relationships: { space: { data: { guid: place.space.guid } } },
      syslog_drain_url: 'syslog-tls://logs.example.com:6514',
      credentials: { cert: 'CERT', key: 'KEY', ca: 'CA', other: 'x' },
    })
    await bind(app.guid, service.body.guid)
    const list = await drains().read(before?.revision)
    expect(list?.drains).toEqual([
      {
        appGuid: app.guid,
        appName: app.name,
        spaceGuid: place.space.guid,
        spaceName: place.space.name,
        organizationGuid: place.organization.guid,
        organizationName: place.organization.name,
        url: 'syslog-tls://logs.example.com:6514',
        trusted: false,
        certificatePem: 'CERT',
        privateKeyPem: 'KEY',
        authorityPem: 'CA',
      },
    ])
    expect(await drains().read(list?.revision)).toBeUndefined()
    await place.developer.patch(`/v3/service_instances/${service.body.guid}`, { syslog_drain_url: 'syslog://other.example.com' })
    expect((await drains().read(list?.revision))?.drains).toMatchObject([
      { url: 'syslog://other.example.com', appGuid: app.guid },
    ])
    await place.developer.delete(`/v3/service_instances/${service.body.guid}`)
    expect((await drains().read(list?.revision))?.drains).toEqual([])
  })

  it('trusts what a broker of the operator gave, not that of a space', async () => {
    const app = await createApp(place.developer, place.space.guid)
    const global = await aManagedInstance(api, place.space.guid, url, { requires: ['syslog_drain'] })
    await bind(app.guid, global.guid)
    expect((await drains().read(undefined))?.drains).toMatchObject([{ url: 'syslog://logs.example.com:514', trusted: true }])
    await api.context.db.serviceBroker.update({ where: { guid: global.brokerGuid }, data: { spaceGuid: place.space.guid } })
    expect((await drains().read(undefined))?.drains).toMatchObject([{ trusted: false }])
  })
})
