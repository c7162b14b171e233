/* The small fused operations of a decoder block, and what perplexity and divergence need. */

static float dot(const float *a, const float *b, size_t n) {
  float s = 0;
  for (size_t i = 0; i < n; i++) s += a[i] * b[i];
  return s;
}

static void add(float *a, const float *b, size_t n) {
  for (size_t i = 0; i < n; i++) a[i] += b[i];
}

static void rms_norm(const float *x, const float *weight, float epsilon, float *out, size_t n) {
  const float r = 1.0f / sqrtf(dot(x, x, n) / (float)n + epsilon);
  for (size_t i = 0; i < n; i++) out[i] = x[i] * r * weight[i];
}

static void rope(float *x, const float *cosine, const float *sine, size_t heads, size_t dim, int interleaved) {
  const size_t half = dim / 2;
  for (size_t h = 0; h < heads; h++, x += dim) {
    if (interleaved) {
      for (size_t i = 0; i < half; i++) {
        const float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cosine[i] - b * sine[i];
        x[2 * i + 1] = b * cosine[i] + a * sine[i];
      }
    } else {
      for (size_t i = 0; i < half; i++) {
        const float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
      }
    }
  }
}

static void silu_multiply(float *gate, const float *up, size_t n) {
  for (size_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + fast_exp(-gate[i])) * up[i];
}

LATHE_INLINE float maximum(const float *x, size_t n) {
  float m = -INFINITY;
  for (size_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

static float log_sum_exp(const float *x, size_t n) {
  const float peak = maximum(x, n);
  float s = 0;
  for (size_t i = 0; i < n; i++) s += fast_exp(x[i] - peak);
  return peak + logf(s);
}

static float divergence(const float *p, float log_sum_p, const float *q, float log_sum_q, size_t n) {
  float s = 0;
  for (size_t i = 0; i < n; i++) {
    const float log_p = p[i] - log_sum_p;
    s += fast_exp(log_p) * (log_p - (q[i] - log_sum_q));
  }
  return s;
}

static size_t argmax(const float *x, size_t n) {
  const float peak = maximum(x, n);
  for (size_t i = 0; i < n; i++) if (x[i] == peak) return i;
  return 0;
}
