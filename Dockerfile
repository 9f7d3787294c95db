FROM node:24.21.0-bookworm AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts
# Compiles argon2 for the machine that builds, because this is faster than the binary in its package. An image for other machines
# needs flags that all of them support: --build-arg ARGON2_FLAGS='-O3 -march=x86-64-v3'
ARG ARGON2_FLAGS='-O3 -march=native'
RUN CFLAGS="$ARGON2_FLAGS" CXXFLAGS="$ARGON2_FLAGS" npm explore argon2 -- node-gyp rebuild --nodedir=/usr/local \
  && rm -r node_modules/argon2/prebuilds

FROM node:24.21.0-bookworm-slim
ENV LATCHKEY_HOST=0.0.0.0 LATCHKEY_PORT=3000 LATCHKEY_DATA_DIR=/data MALLOC_MMAP_THRESHOLD_=1048576
RUN install -d -o node -g node -m 700 /data
VOLUME /data
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY package.json ./
COPY src src
COPY plugins plugins
COPY routes routes
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LATCHKEY_PORT}/health/ready`).then((answer) => process.exit(answer.ok ? 0 : 1))"]
ENTRYPOINT ["node", "--max-semi-space-size=2", "src/cli.ts"]
CMD ["serve"]
