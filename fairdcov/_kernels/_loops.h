/* The innermost loops of the kernels: plain C on contiguous doubles, compiled several times over for the vector
   units of the day and chosen at run time (GNU ifunc), so that one portable wheel is fast everywhere.
   Elsewhere the same source is compiled once for the baseline. */

#ifndef FAIRDCOV_LOOPS_H
#define FAIRDCOV_LOOPS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(FAIRDCOV_ONE_VERSION) && defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define FAIRDCOV_DISPATCH __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FAIRDCOV_DISPATCH __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#else
#define FAIRDCOV_DISPATCH
#endif

#define FAIRDCOV_LANES 8

/* Eight partial sums in a fixed order: vectorisable without permission to reassociate. */
#define FAIRDCOV_FOLD(p) (((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7])))

/* Sum of a[k] * b[k]; `size` is a multiple of FAIRDCOV_LANES (the caller pads with zeros). */
FAIRDCOV_DISPATCH
static double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
{
    double partial[FAIRDCOV_LANES] = {0};
    for (ptrdiff_t k = 0; k < size; k += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
            partial[lane] += a[k + lane] * b[k + lane];
    return FAIRDCOV_FOLD(partial);
}

/* target[k] += scale * values[k]; `size` is a multiple of FAIRDCOV_LANES. */
FAIRDCOV_DISPATCH
static void fairdcov_add_scaled(double *restrict target, const double *restrict values, double scale, ptrdiff_t size)
{
    for (ptrdiff_t k = 0; k < size; k += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
            target[k + lane] += scale * values[k + lane];
}

/* One block's factor of W in row i, columns start .. start + width:
       product[j] *= half[i] + half[j] - scale * |points_i - points_j|
   with points stored one dimension after the other (dims, n) and `distance` a scratch row. */
FAIRDCOV_DISPATCH
static void fairdcov_block_factor(const double *points, ptrdiff_t n, ptrdiff_t dims, const double *half, double scale,
                                  ptrdiff_t i, ptrdiff_t start, ptrdiff_t width, double *restrict distance,
                                  double *restrict product)
{
    const double half_i = half[i];
    const double *half_j = half + start;
    if (dims == 1) {
        const double x = points[i];
        const double *row = points + start;
        for (ptrdiff_t j = 0; j < width; ++j)
            product[j] *= half_i + half_j[j] - scale * fabs(x - row[j]);
        return;
    }
    for (ptrdiff_t j = 0; j < width; ++j)
        distance[j] = 0.0;
    ptrdiff_t d = 0;
    for (; d + 4 <= dims; d += 4) { /* four dimensions for each load and store of the running sum */
        const double *p = points + d * n;
        const double x0 = p[i], x1 = p[n + i], x2 = p[2 * n + i], x3 = p[3 * n + i];
        const double *r0 = p + start, *r1 = r0 + n, *r2 = r1 + n, *r3 = r2 + n;
        for (ptrdiff_t j = 0; j < width; ++j)
            distance[j] += ((x0 - r0[j]) * (x0 - r0[j]) + (x1 - r1[j]) * (x1 - r1[j]))
                         + ((x2 - r2[j]) * (x2 - r2[j]) + (x3 - r3[j]) * (x3 - r3[j]));
    }
    for (; d < dims; ++d) {
        const double x = points[d * n + i];
        const double *row = points + d * n + start;
        for (ptrdiff_t j = 0; j < width; ++j)
            distance[j] += (x - row[j]) * (x - row[j]);
    }
    for (ptrdiff_t j = 0; j < width; ++j)
        product[j] *= half_i + half_j[j] - scale * sqrt(distance[j]);
}

/* Adds a row of W to both of its ends: sums[j] += q_i W_j, returned sum = sum_j q_j W_j. */
FAIRDCOV_DISPATCH
static double fairdcov_add_pairs(const double *q, double q_i, const double *product, ptrdiff_t width,
                                 double *restrict sums)
{
    double partial[FAIRDCOV_LANES] = {0};
    ptrdiff_t j = 0;
    for (; j + FAIRDCOV_LANES <= width; j += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane) {
            partial[lane] += q[j + lane] * product[j + lane];
            sums[j + lane] += q_i * product[j + lane];
        }
    for (; j < width; ++j) {
        partial[j % FAIRDCOV_LANES] += q[j] * product[j];
        sums[j] += q_i * product[j];
    }
    return FAIRDCOV_FOLD(partial);
}

/* Asks for a cache line ahead of its use: the sweeps visit rows in the order of u, at random places in memory. */
#if defined(__GNUC__) || defined(__clang__)
#define FAIRDCOV_PREFETCH(address) __builtin_prefetch(address)
#else
#define FAIRDCOV_PREFETCH(address) ((void)(address))
#endif
#define FAIRDCOV_AHEAD 24
#if defined(__GNUC__) || defined(__clang__)
#define FAIRDCOV_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
#else
#define FAIRDCOV_PREFETCH_TO_WRITE(address) ((void)(address))
#endif

/* Bit of the code of a sorted row whose prediction is that of the row before it. */
#define FAIRDCOV_TIED 0x40000000
/* Rows after which the running products are computed afresh, so that their rounding does not build up. */
#define FAIRDCOV_AFRESH 4096

/* State of a sweep over sorted rows, see _profiles.pyx: the weight below less that above of each profile, and (where
   `running`) the products of all rows of the matrix with it. */
typedef struct {
    const double *matrix;
    ptrdiff_t n_profiles, width;
    int running;
    double *balance, *products;
    double below_minus_above;
} fairdcov_sweep_state;

/* Inlined into the sweep and compiled with it for the vector units: a call for each row takes longer than its work. */
#if defined(__GNUC__) || defined(__clang__)
#define FAIRDCOV_INLINE static inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define FAIRDCOV_INLINE static __forceinline
#else
#define FAIRDCOV_INLINE static inline
#endif

FAIRDCOV_INLINE void fairdcov_pass_row(fairdcov_sweep_state *state, ptrdiff_t code, double weight)
{
    state->balance[code] += weight;
    state->below_minus_above += weight;
    if (state->running) {
        const double *row = state->matrix + code * state->width;
        double *products = state->products;
        for (ptrdiff_t k = 0; k < state->width; k += FAIRDCOV_LANES)
            for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
                products[k + lane] += weight * row[k + lane];
    }
}

FAIRDCOV_INLINE double fairdcov_product_of_row(const fairdcov_sweep_state *state, ptrdiff_t code)
{
    if (state->running)
        return state->products[code];
    const double *row = state->matrix + code * state->width;
    double partial[FAIRDCOV_LANES] = {0};
    for (ptrdiff_t k = 0; k < state->width; k += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
            partial[lane] += row[k + lane] * state->balance[k + lane];
    return FAIRDCOV_FOLD(partial);
}

/* Sorted rows from `first` to `end`: their signed products and signed weights side by side in `pairs`, in the order of
   memory. `weights` is NULL for ones. */
FAIRDCOV_DISPATCH
static void fairdcov_sweep(const fairdcov_sweep_state *given, const int64_t *order, const int32_t *codes,
                           const double *weights, ptrdiff_t first, ptrdiff_t end, double *pairs)
{
    fairdcov_sweep_state state = *given;
    ptrdiff_t due = first;
    while (first < end) {
        if (state.running && first >= due) {
            for (ptrdiff_t k = 0; k < state.width; ++k)
                state.products[k] = 0.0;
            for (ptrdiff_t h = 0; h < state.n_profiles; ++h)
                for (ptrdiff_t k = 0; k < state.width; ++k)
                    state.products[k] += state.balance[h] * state.matrix[h * state.width + k];
            due = first + FAIRDCOV_AFRESH;
        }
        ptrdiff_t last = first + 1;
        while (last < end && (codes[last] & FAIRDCOV_TIED))
            ++last;
        if (last == first + 1) {
            const ptrdiff_t code = codes[first] & ~FAIRDCOV_TIED;
            const double weight = weights ? weights[first] : 1.0;
            double *pair = pairs + 2 * order[first];
            if (first + FAIRDCOV_AHEAD < end)
                FAIRDCOV_PREFETCH_TO_WRITE(pairs + 2 * order[first + FAIRDCOV_AHEAD]);
            /* Read with half of the row itself. */
            const double centre = state.matrix[code * state.width + code];
            pair[0] = weight * (fairdcov_product_of_row(&state, code) + weight * centre);
            pair[1] = state.below_minus_above + weight;
            fairdcov_pass_row(&state, code, 2.0 * weight);
        } else {
            /* Of tied rows each counts half for the others, neither below nor above: sign(0) = 0. */
            for (ptrdiff_t i = first; i < last; ++i)
                fairdcov_pass_row(&state, codes[i] & ~FAIRDCOV_TIED, weights ? weights[i] : 1.0);
            for (ptrdiff_t i = first; i < last; ++i) {
                const double product = fairdcov_product_of_row(&state, codes[i] & ~FAIRDCOV_TIED);
                double *pair = pairs + 2 * order[i];
                pair[0] = weights ? weights[i] * product : product;
                pair[1] = state.below_minus_above;
            }
            for (ptrdiff_t i = first; i < last; ++i)
                fairdcov_pass_row(&state, codes[i] & ~FAIRDCOV_TIED, weights ? weights[i] : 1.0);
        }
        first = last;
    }
}

/* sums[0] = sum of (u - centre) pair[0], sums[1] = sum of (u - centre) weight pair[1], over the rows. */
FAIRDCOV_DISPATCH
static void fairdcov_pair_sums(const double *u, double centre, const double *pairs, const double *weights, ptrdiff_t n,
                               double *sums)
{
    double first[FAIRDCOV_LANES] = {0}, second[FAIRDCOV_LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + FAIRDCOV_LANES <= n; i += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane) {
            const double distance = u[i + lane] - centre;
            first[lane] += distance * pairs[2 * (i + lane)];
            second[lane] += (weights ? weights[i + lane] : 1.0) * distance * pairs[2 * (i + lane) + 1];
        }
    for (; i < n; ++i) {
        first[i % FAIRDCOV_LANES] += (u[i] - centre) * pairs[2 * i];
        second[i % FAIRDCOV_LANES] += (weights ? weights[i] : 1.0) * (u[i] - centre) * pairs[2 * i + 1];
    }
    sums[0] = FAIRDCOV_FOLD(first);
    sums[1] = FAIRDCOV_FOLD(second);
}

/* out = first * pair[0] + second * weight * pair[1] */
FAIRDCOV_DISPATCH
static void fairdcov_combine_pairs(const double *pairs, const double *weights, double first, double second, ptrdiff_t n,
                                   double *restrict out)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i] = first * pairs[2 * i] + second * (weights ? weights[i] : 1.0) * pairs[2 * i + 1];
}

/* out[i] += sum of rows[i][k] * vector[k], four rows at a time: what is read of the vector serves all of them. `stride`
   from one row to the next. */
FAIRDCOV_DISPATCH
static void fairdcov_add_products(const double *rows, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t size,
                                  const double *vector, double *out)
{
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const double *r0 = rows + i * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
        double p0[FAIRDCOV_LANES] = {0}, p1[FAIRDCOV_LANES] = {0}, p2[FAIRDCOV_LANES] = {0}, p3[FAIRDCOV_LANES] = {0};
        ptrdiff_t k = 0;
        for (; k + FAIRDCOV_LANES <= size; k += FAIRDCOV_LANES)
            for (int lane = 0; lane < FAIRDCOV_LANES; ++lane) {
                p0[lane] += r0[k + lane] * vector[k + lane];
                p1[lane] += r1[k + lane] * vector[k + lane];
                p2[lane] += r2[k + lane] * vector[k + lane];
                p3[lane] += r3[k + lane] * vector[k + lane];
            }
        double s0 = FAIRDCOV_FOLD(p0), s1 = FAIRDCOV_FOLD(p1), s2 = FAIRDCOV_FOLD(p2), s3 = FAIRDCOV_FOLD(p3);
        for (; k < size; ++k) {
            s0 += r0[k] * vector[k];
            s1 += r1[k] * vector[k];
            s2 += r2[k] * vector[k];
            s3 += r3[k] * vector[k];
        }
        out[i] += s0;
        out[i + 1] += s1;
        out[i + 2] += s2;
        out[i + 3] += s3;
    }
    for (; i < n; ++i) {
        const double *row = rows + i * stride;
        double partial[FAIRDCOV_LANES] = {0};
        ptrdiff_t k = 0;
        for (; k + FAIRDCOV_LANES <= size; k += FAIRDCOV_LANES)
            for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
                partial[lane] += row[k + lane] * vector[k + lane];
        double sum = FAIRDCOV_FOLD(partial);
        for (; k < size; ++k)
            sum += row[k] * vector[k];
        out[i] += sum;
    }
}

/* out[k] += sum over the rows of factors[i] * rows[i][k], eight rows for each load and store of the running sum. */
FAIRDCOV_DISPATCH
static void fairdcov_add_rows(const double *rows, ptrdiff_t n, ptrdiff_t size, const double *factors,
                              double *restrict out)
{
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const double *r0 = rows + i * size, *r1 = r0 + size, *r2 = r1 + size, *r3 = r2 + size;
        const double *r4 = r3 + size, *r5 = r4 + size, *r6 = r5 + size, *r7 = r6 + size;
        const double *f = factors + i;
        for (ptrdiff_t k = 0; k < size; ++k)
            out[k] += ((f[0] * r0[k] + f[1] * r1[k]) + (f[2] * r2[k] + f[3] * r3[k]))
                    + ((f[4] * r4[k] + f[5] * r5[k]) + (f[6] * r6[k] + f[7] * r7[k]));
    }
    for (; i < n; ++i)
        for (ptrdiff_t k = 0; k < size; ++k)
            out[k] += factors[i] * rows[i * size + k];
}

/* out[i] += sum of columns[k][i] * vector[k], four columns at a time; `stride` from one column to the next. */
FAIRDCOV_DISPATCH
static void fairdcov_add_columns(const double *columns, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t size,
                                 const double *vector, double *restrict out)
{
    ptrdiff_t k = 0;
    for (; k + 4 <= size; k += 4) {
        const double *c0 = columns + k * stride, *c1 = c0 + stride, *c2 = c1 + stride, *c3 = c2 + stride;
        const double v0 = vector[k], v1 = vector[k + 1], v2 = vector[k + 2], v3 = vector[k + 3];
        for (ptrdiff_t i = 0; i < n; ++i)
            out[i] += (v0 * c0[i] + v1 * c1[i]) + (v2 * c2[i] + v3 * c3[i]);
    }
    for (; k < size; ++k)
        for (ptrdiff_t i = 0; i < n; ++i)
            out[i] += vector[k] * columns[k * stride + i];
}

#endif
