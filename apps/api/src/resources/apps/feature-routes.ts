import type { FastifyInstance } from 'fastify'
import type { App } from '@bloomery/database'
import { z } from 'zod'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { presentAll } from '../../http/lists.js'
import { actorOf } from '../../jobs/routes.js'
import { recordAppEvent } from './app-events.js'
import { findApp } from './find-app.js'

export const APP_FEATURES = {
  ssh: { description: 'Enable SSHing into the app.', column: 'sshEnabled' },
  revisions: { description: 'Enable versioning of an application', column: 'revisionsEnabled' },
  'service-binding-k8s': { description: 'Enable k8s service bindings for the app', column: 'serviceBindingK8s' },
  'file-based-vcap-services': {
    description: 'Enable file-based VCAP service bindings for the app',
    column: 'fileBasedVcapServices',
  },
} as const
export type FeatureName = keyof typeof APP_FEATURES
const EXCLUDING: readonly FeatureName[] = ['file-based-vcap-services', 'service-binding-k8s']

/** Bindings come in one way only. */
export function requireOneDelivery(app: Pick<App, 'fileBasedVcapServices' | 'serviceBindingK8s'>): void {
  if (app.fileBasedVcapServices && app.serviceBindingK8s)
    throw unprocessable(`${EXCLUDING.map((name) => `'${name}'`).join(' and ')} features cannot be enabled at the same time.`)
}
const isFeature = (name: string): name is FeatureName => Object.hasOwn(APP_FEATURES, name)
const present = (app: App, name: FeatureName) => ({
  name,
  description: APP_FEATURES[name].description,
  enabled: app[APP_FEATURES[name].column],
})
const UpdateFeature = z.strictObject({ enabled: z.boolean('must be a boolean') })
interface ByGuid {
  Params: { guid: string }
}
interface ByName {
  Params: { guid: string; name: string }
}

export function appFeatureRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  app.get<ByGuid>('/v3/apps/:guid/features', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    return presentAll((Object.keys(APP_FEATURES) as FeatureName[]).map((name) => present(found, name)))
  })

  app.get<ByName>('/v3/apps/:guid/features/:name', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    if (!isFeature(request.params.name)) throw notFound('Feature')
    return present(found, request.params.name)
  })

  app.patch<ByName>('/v3/apps/:guid/features/:name', { config: { permission: 'space.develop' } }, async (request) => {
    const { name } = request.params
    const found = await findApp(db, request, request.params.guid, 'space.develop')
    if (!isFeature(name)) throw notFound('Feature')
    const { enabled } = parseBody(UpdateFeature, request.body)
    requireOneDelivery({ ...found, [APP_FEATURES[name].column]: enabled })
    const updated = await db.$transaction(async (tx) => {
      await recordAppEvent(tx, actorOf(request), found, 'audit.app.update', { request: { features: { [name]: enabled } } })
      return tx.app.update({ where: { guid: found.guid }, data: { [APP_FEATURES[name].column]: enabled } })
    })
    return present(updated, name)
  })

  app.get<ByGuid>('/v3/apps/:guid/ssh_enabled', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    const reason = !found.space.sshEnabled ? `Disabled for space ${found.space.name}` : found.sshEnabled ? '' : 'Disabled for app'
    return { enabled: reason === '', reason }
  })

  app.get<ByGuid>('/v3/apps/:guid/permissions', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    return { read_basic_data: true, read_sensitive_data: await request.access.hasInSpace('space.read_secrets', found.space) }
  })
}
