FROM node:24.21.0-bookworm AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts
# Compiles argon2, because this is faster than the binary in its package. The image runs on every machine of its architecture. For the
# machines of one kind only: --build-arg ARGON2_FLAGS='-O3 -march=native' or '-O3 -march=x86-64-v3'
ARG ARGON2_FLAGS=-O3
RUN CFLAGS="$ARGON2_FLAGS" CXXFLAGS="$ARGON2_FLAGS" npm explore argon2 -- node-gyp rebuild --nodedir=/usr/local \
  && rm -r node_modules/argon2/prebuilds
COPY src src
COPY plugins plugins
COPY routes routes
# The files of the context can have any mode, and the service can run as any user.
RUN chmod -R a+rX .

# The package for services, for the example below.
FROM node:24.21.0-bookworm AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# The programs of typescript and esbuild are optional packages.
RUN npm ci --ignore-scripts
COPY LICENSE tsconfig.json tsconfig.build.json build.ts ./
COPY src src
COPY plugins plugins
COPY routes routes
COPY docs/packages docs/packages
RUN node build.ts && npm pack ./dist/latchkey-guard

# The guarded service of compose.yaml.
FROM node:24.21.0-bookworm-slim AS orders
WORKDIR /app
COPY examples/orders ./
COPY --from=packages /app/latchkey-guard-0.1.0.tgz ./
RUN npm pkg delete devDependencies && npm install ./latchkey-guard-0.1.0.tgz && chmod -R a+rX .
USER 1000:0
EXPOSE 4000
CMD ["sh", "-c", "CLIENT_SECRET=$(cat /secrets/orders-api) exec node server.ts"]

FROM node:24.21.0-bookworm-slim
ENV LATCHKEY_HOST=0.0.0.0 LATCHKEY_PORT=3000 LATCHKEY_DATA_DIR=/data MALLOC_ARENA_MAX=1
# Every user of the group root can write here: some platforms choose the user. /secrets is for compose.yaml.
RUN install -d -o node -g root -m 770 /data /secrets
VOLUME /data
WORKDIR /app
COPY --from=build /app ./
USER 1000:0
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LATCHKEY_PORT}/health/ready`).then((answer) => process.exit(answer.ok ? 0 : 1))"]
ENTRYPOINT ["node", "--max-semi-space-size=4", "src/cli.ts"]
CMD ["serve"]
