import { randomUUID } from 'node:crypto'
import fastify, { type FastifyInstance } from 'fastify'
import formbody from '@fastify/formbody'
import { CfError } from '@bloomery/contracts'
import { authenticate, type TokenVerifier } from './http/authentication.js'
import { baseUrlOf } from './http/base-url.js'
import type { Context } from './http/context.js'
import { answerErrors } from './http/errors.js'
import type { Permission } from './http/permissions.js'
import { jobRoutes } from './jobs/routes.js'
import { absentRoutes } from './resources/absent/routes.js'
import { currentDropletRoutes } from './resources/apps/current-droplet-routes.js'
import { appEnvironmentRoutes } from './resources/apps/environment-routes.js'
import { appFeatureRoutes } from './resources/apps/feature-routes.js'
import { appRoutes } from './resources/apps/routes.js'
import { auditEventRoutes } from './resources/audit-events/routes.js'
import { buildpackRoutes } from './resources/buildpacks/routes.js'
import { unkeptAppRoutes } from './resources/apps/unkept-routes.js'
import { buildExplanationRoutes } from './resources/builds/explanation-routes.js'
import { buildRoutes } from './resources/builds/routes.js'
import { componentRoutes } from './resources/components/routes.js'
import { deploymentRoutes } from './resources/deployments/routes.js'
import { domainRoutes } from './resources/domains/routes.js'
import { dropletRoutes } from './resources/droplets/routes.js'
import { environmentGroupRoutes } from './resources/environment-groups/routes.js'
import { featureFlagRoutes } from './resources/feature-flags/routes.js'
import { garbageRoutes } from './resources/garbage/routes.js'
import { logCacheRoutes } from './resources/log-cache/routes.js'
import { manifestRoutes } from './resources/manifests/routes.js'
import { orphanMitigationRoutes } from './resources/orphan-mitigations/routes.js'
import { organizationQuotaRoutes } from './resources/organization-quotas/routes.js'
import { organizationRelatedRoutes } from './resources/organizations/related-routes.js'
import { organizationRoutes } from './resources/organizations/routes.js'
import { packageRoutes } from './resources/packages/routes.js'
import { processRoutes } from './resources/processes/routes.js'
import { roleRoutes } from './resources/roles/routes.js'
import { rootRoutes } from './resources/root/routes.js'
import { routerGroupRoutes } from './resources/router-groups/routes.js'
import { destinationRoutes } from './resources/routes/destination-routes.js'
import { routeExplanationRoutes } from './resources/routes/explanation-routes.js'
import { routeRoutes } from './resources/routes/routes.js'
import { routeSharingRoutes } from './resources/routes/sharing-routes.js'
import { serviceBrokerRoutes } from './resources/service-brokers/routes.js'
import { serviceCredentialBindingRoutes } from './resources/service-credential-bindings/routes.js'
import { serviceRouteBindingRoutes } from './resources/service-route-bindings/routes.js'
import { serviceInstanceRoutes } from './resources/service-instances/routes.js'
import { unusableInstanceRoutes } from './resources/service-instances/unusable-routes.js'
import { serviceOfferingRoutes } from './resources/service-offerings/routes.js'
import { servicePlanRoutes } from './resources/service-plans/routes.js'
import { spaceQuotaRoutes } from './resources/space-quotas/routes.js'
import { spaceFeatureRoutes } from './resources/spaces/feature-routes.js'
import { spaceRoutes } from './resources/spaces/routes.js'
import { stackRoutes } from './resources/stacks/routes.js'
import { userRoutes } from './resources/users/routes.js'
import { registerUploads } from './uploads/receive-upload.js'

/** A route and who may call it. */
export interface DeclaredRoute {
  readonly method: string
  readonly url: string
  readonly permission: Permission
}
declare module 'fastify' {
  interface FastifyInstance {
    readonly declaredRoutes: readonly DeclaredRoute[]
  }
}

/** Each entry adds the routes of one resource; the order is of no meaning. */
const RESOURCES: readonly ((app: FastifyInstance, context: Context) => void)[] = [
  rootRoutes,
  jobRoutes,
  organizationRoutes,
  organizationRelatedRoutes,
  organizationQuotaRoutes,
  spaceRoutes,
  spaceFeatureRoutes,
  spaceQuotaRoutes,
  userRoutes,
  roleRoutes,
  domainRoutes,
  routeRoutes,
  destinationRoutes,
  routeSharingRoutes,
  routeExplanationRoutes,
  routerGroupRoutes,
  appRoutes,
  appEnvironmentRoutes,
  appFeatureRoutes,
  currentDropletRoutes,
  unkeptAppRoutes,
  processRoutes,
  packageRoutes,
  dropletRoutes,
  buildRoutes,
  buildExplanationRoutes,
  componentRoutes,
  deploymentRoutes,
  manifestRoutes,
  featureFlagRoutes,
  environmentGroupRoutes,
  auditEventRoutes,
  stackRoutes,
  buildpackRoutes,
  serviceBrokerRoutes,
  serviceOfferingRoutes,
  servicePlanRoutes,
  serviceInstanceRoutes,
  unusableInstanceRoutes,
  serviceCredentialBindingRoutes,
  serviceRouteBindingRoutes,
  orphanMitigationRoutes,
  garbageRoutes,
  logCacheRoutes,
  absentRoutes,
]

/** The whole API as a value: routes over a context, listening nowhere yet. `more`: routes that need other parts than the context. */
export async function buildApp(
  context: Context,
  tokens: TokenVerifier,
  more: readonly ((app: FastifyInstance) => void)[] = [],
): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    trustProxy: (context.settings.trustedProxies ?? 'loopback').split(',').map((each) => each.trim()),
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 500 },
    genReqId: (request) =>
      typeof request.headers['x-vcap-request-id'] === 'string' ? request.headers['x-vcap-request-id'] : randomUUID(),
    bodyLimit: 4 * 1024 * 1024,
    forceCloseConnections: 'idle',
  })
  answerErrors(app, context.log)
  // The client sends `Content-Type: application/json` with every request, also with those that have no body.
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    const text = body.toString()
    if (text.trim() === '') return done(null, undefined)
    try {
      done(null, JSON.parse(text))
    } catch (error) {
      done(new CfError('MessageParseError', 'Request invalid due to parse error: invalid request body', { cause: error }))
    }
  })
  app.addContentTypeParser(
    ['application/x-yaml', 'application/yaml', 'text/yaml', 'text/x-yaml'],
    { parseAs: 'string' },
    (_request, body, done) => done(null, body),
  )
  await app.register(formbody)
  await registerUploads(app)

  app.addHook('onRequest', async (request, reply) => {
    request.baseUrl = baseUrlOf(request, context.settings)
    reply.header('x-vcap-request-id', request.id)
  })
  authenticate(app, context, tokens)
  const declared: DeclaredRoute[] = []
  app.decorate('declaredRoutes', declared)
  app.addHook('onRoute', (route) => {
    if (route.method === 'HEAD') return
    const permission = route.config?.permission
    if (!permission)
      throw new Error(`${String(route.method)} ${route.url} declares no permission; every route must say who may call it.`)
    declared.push({ method: String(route.method), url: route.url, permission })
  })
  for (const resource of RESOURCES) resource(app, context)
  for (const routes of more) routes(app)
  return app
}
